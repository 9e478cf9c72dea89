import type { AccessMode } from './csi-client.ts';

/** CSI's access mode for a claim's (kubernetes/pkg/volume/csi/csi_client.go: asCSIAccessModeV1). `single` when the driver has SINGLE_NODE_MULTI_WRITER. */
export function csiAccessMode(modes: readonly string[], single: boolean): AccessMode {
  if (modes.includes('ReadWriteMany')) return 'MULTI_NODE_MULTI_WRITER';
  if (modes.includes('ReadOnlyMany') && !modes.includes('ReadWriteOnce')) return 'MULTI_NODE_READER_ONLY';
  if (modes.includes('ReadWriteOncePod')) return single ? 'SINGLE_NODE_SINGLE_WRITER' : 'SINGLE_NODE_WRITER';
  return single ? 'SINGLE_NODE_MULTI_WRITER' : 'SINGLE_NODE_WRITER';
}
