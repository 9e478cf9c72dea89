/** Cluster feature bits (`src/include/ceph_features.h`) that decide encodings. Incarnations: a bit is reused with others as its mark. */
export const FEATURE_MON_STATEFUL_SUB = 1n << 57n;
export const FEATURE_SERVER_NAUTILUS = 1n << 2n;
export const FEATURE_SERVER_LUMINOUS = 1n << 21n;
export const FEATURE_SERVER_MIMIC = (1n << 28n) | (1n << 57n);
export const FEATURE_MSG_ADDR2 = 1n << 59n;

/** Everything a Pacific daemon or librados advertises. */
export const FEATURES_PACIFIC = 0x3f01_cfb9_fffd_ffffn;

export function hasFeature(features: bigint, mask: bigint): boolean {
  return (features & mask) === mask;
}
