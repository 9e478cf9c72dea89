/**
 * A store that goes on from an older state hands out revisions that clients of its earlier life may have seen with other contents. It goes on this much
 * further, beyond anything that was written meanwhile, and calls everything before compacted, so that no watch goes on across the gap (what
 * `etcdutl snapshot restore --bump-revision 1000000000 --mark-compacted` does).
 */
export const revisionSkip = 1_000_000_000;
