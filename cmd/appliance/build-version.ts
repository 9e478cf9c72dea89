/** Put in by the build (`cmd/build/main.ts`); a run from source has neither. */
declare const APPLIANCE_VERSION: string | undefined;
declare const APPLIANCE_COMMIT: string | undefined;
/** Seconds since the epoch of the commit. */
declare const APPLIANCE_TIME: number | undefined;

export const build = {
  version: typeof APPLIANCE_VERSION === 'string' ? APPLIANCE_VERSION : 'development',
  commit: typeof APPLIANCE_COMMIT === 'string' ? APPLIANCE_COMMIT : 'source',
  /** When its sources were committed, in milliseconds since the epoch; undefined for a run from source. */
  timeMs: typeof APPLIANCE_TIME === 'number' && APPLIANCE_TIME > 0 ? APPLIANCE_TIME * 1000 : undefined,
  platform: `${process.platform}-${process.arch}`,
} as const;

/** `0.1.0 (abc1234, linux-x64)`. */
export function buildVersion(): string {
  return `${build.version} (${build.commit}, ${build.platform})`;
}
