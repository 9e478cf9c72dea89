import type { CsiService } from './grpc-server.ts';

/** Rook's driver name for block volumes. */
export const rbdDriverName = 'rook-ceph.rbd.csi.ceph.com';

export function identityService(options: { name: string; version: string; controller: boolean }): CsiService {
  return {
    GetPluginInfo: () => ({ name: options.name, vendorVersion: options.version }),
    GetPluginCapabilities: () => ({
      capabilities: options.controller ? [{ service: { type: 'CONTROLLER_SERVICE' } }] : [],
    }),
    Probe: () => ({ ready: { value: true } }),
  };
}
