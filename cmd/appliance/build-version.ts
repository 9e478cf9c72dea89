/** Put in by the build (`cmd/build/main.ts`); a run from source has neither. */
declare const APPLIANCE_VERSION: string | undefined;
declare const APPLIANCE_COMMIT: string | undefined;

export const build = {
  version: typeof APPLIANCE_VERSION === 'string' ? APPLIANCE_VERSION : 'development',
  commit: typeof APPLIANCE_COMMIT === 'string' ? APPLIANCE_COMMIT : 'source',
  platform: `${process.platform}-${process.arch}`,
} as const;

/** `0.1.0 (abc1234, linux-x64)`. */
export function buildVersion(): string {
  return `${build.version} (${build.commit}, ${build.platform})`;
}
