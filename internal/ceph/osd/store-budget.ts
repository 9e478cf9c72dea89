/** What an OSD's process needs beside its caches: engine, code, maps, logs of its PGs, messages under way. Measured after load: some 90 MiB. */
const processBytes = 128 * 2 ** 20;
/** Below this a store would do little but checkpoints. */
const leastStoreBytes = 8 * 2 ** 20;
/** Of an OSD without a limit. */
const unlimitedStoreBytes = 64 * 2 ** 20;
const mostStoreBytes = 1024 * 2 ** 20;
const mostBufferBytes = 32 * 2 ** 20;

/**
 * How much of an OSD's memory (`memory.osd`, in bytes; 0: no limit) its store may use for objects, blocks and what waits for a checkpoint, and how much lies ready as large
 * buffers. A sixth of what the process does not need by itself: caches are what is left over, and a limit is not there to be reached.
 */
export function storeBudget(limitBytes: number): { storeBytes: number; bufferBytes: number } {
  const storeBytes =
    limitBytes === 0
      ? unlimitedStoreBytes
      : Math.max(leastStoreBytes, Math.min(mostStoreBytes, Math.floor((limitBytes - processBytes) / 6)));
  return { storeBytes, bufferBytes: Math.min(mostBufferBytes, Math.floor(storeBytes / 2)) };
}
