import { AppError } from '../base/errors.ts';
import type { VolumeProvisioner } from '../kube/controllers/persistent-volume.ts';
import { GrpcTransport } from '../rpc/grpc-transport.ts';
import { csiDefinition } from '../rpc/proto/load.ts';

const controller = 'csi.v1.Controller';
/** Removing the objects of a large image takes its time. */
const callTimeoutMs = 300_000;

/** CSI's name of a Kubernetes access mode (external-provisioner). */
const accessModes: Record<string, string> = {
  ReadWriteOnce: 'SINGLE_NODE_WRITER',
  ReadOnlyMany: 'MULTI_NODE_READER_ONLY',
  ReadWriteMany: 'MULTI_NODE_MULTI_WRITER',
  ReadWriteOncePod: 'SINGLE_NODE_SINGLE_WRITER',
};

/** What external-provisioner is: turns claims into CreateVolume calls on a driver's controller socket. */
export function csiProvisioner(name: string, socketPath: string): VolumeProvisioner {
  const grpc = new GrpcTransport(socketPath, csiDefinition());
  return {
    name,
    createVolume: async (request) => {
      const capability =
        request.volumeMode === 'Block' ? { block: {} } : { mount: { fsType: request.fsType, mountFlags: [] } };
      const answer = await grpc.unary<{
        volume: { volumeId: string; capacityBytes: number; volumeContext: Record<string, string> } | null;
      }>(
        controller,
        'CreateVolume',
        {
          name: request.name,
          capacityRange: { requiredBytes: request.bytes, limitBytes: 0 },
          volumeCapabilities: request.accessModes.map((mode) => ({
            ...capability,
            accessMode: { mode: accessModes[mode] ?? 'UNKNOWN' },
          })),
          parameters: request.parameters,
          secrets: request.secrets,
        },
        { timeoutMs: callTimeoutMs },
      );
      if (!answer.volume)
        throw new AppError('CSI', `driver ${name} answered CreateVolume for ${request.name} without a volume`);
      return {
        handle: answer.volume.volumeId,
        bytes: answer.volume.capacityBytes || request.bytes,
        attributes: answer.volume.volumeContext,
      };
    },
    deleteVolume: async (handle, secrets) => {
      await grpc.unary(controller, 'DeleteVolume', { volumeId: handle, secrets }, { timeoutMs: callTimeoutMs });
    },
  };
}
