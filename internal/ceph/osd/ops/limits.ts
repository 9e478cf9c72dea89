/** Bounds on operations; upstream's option and default beside each. */

/** The most that `osd_max_write_size` may allow, and its default. */
export const maxWriteBytes = 90 * 2 ** 20;
/** `osd_max_object_size`. */
export const maxObjectBytes = 128 * 2 ** 20;
/** `osd_max_object_name_len`. */
export const maxNameBytes = 2048;
/** `osd_max_object_namespace_len`. */
export const maxNamespaceBytes = 256;
/** `osd_max_attr_name_len`. */
export const maxXattrNameBytes = 100;
/** `osd_max_attr_size` is unlimited upstream, bounded by its store; ours keeps them in memory. */
export const maxXattrBytes = 64 * 1024;
/** Xattrs of one object, which the store keeps in one row. */
export const maxXattrs = 10_000;
export const maxXattrsBytes = 8 * 2 ** 20;
/** Omap keys and xattr names: the store writes their lengths, in up to two bytes a character, with 16 bits. */
export const maxStoreNameBytes = 32 * 1024 - 1;
/** Names, attributes and small writes of one request: a store's transaction takes 32 MiB of them, with what the OSD itself adds. */
export const maxMetadataBytes = 24 * 2 ** 20;
/** `osd_max_omap_entries_per_request`. */
export const maxOmapEntries = 1024;
/** `osd_max_omap_bytes_per_request` is 1 GiB upstream; a reply is built in memory. */
export const maxOmapBytes = 64 * 2 ** 20;
/** What the ops of one request give out: a whole object, and what describes it. */
export const maxReplyBytes = maxObjectBytes + 2 ** 20;
/** Of one CHECKSUM. */
export const maxChecksums = 2 ** 20;
/** `osd_max_pgls`. */
export const maxListEntries = 1024;
/** `osd_max_write_op_reply_len`. */
export const maxWriteReplyBytes = 64;
/** Ops about the PG in one request: clients send one. Each looks at up to thousands of keys. */
export const maxPgOps = 16;
/** `osd_client_watch_timeout`, seconds. */
export const defaultWatchTimeoutSec = 30;
/** `osd_default_notify_timeout`, seconds. */
export const defaultNotifyTimeoutSec = 30;
