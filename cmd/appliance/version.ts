/** Put in by the build (`cmd/build/main.ts`); a run from source has neither. */
declare const APPLIANCE_VERSION: string | undefined;
declare const APPLIANCE_COMMIT: string | undefined;

/** `0.1.0 (abc1234, linux-x64)`. */
export function buildVersion(): string {
  const version = typeof APPLIANCE_VERSION === 'string' ? APPLIANCE_VERSION : 'development';
  const commit = typeof APPLIANCE_COMMIT === 'string' ? APPLIANCE_COMMIT : 'source';
  return `${version} (${commit}, ${process.platform}-${process.arch})`;
}
