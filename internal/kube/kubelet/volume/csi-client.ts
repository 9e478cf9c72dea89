import { type CallOptions, GrpcTransport, RpcError } from '../../../rpc/grpc-transport.ts';
import { csiDefinition } from '../../../rpc/proto/load.ts';

const identity = 'csi.v1.Identity';
const node = 'csi.v1.Node';

export type AccessMode =
  | 'SINGLE_NODE_WRITER'
  | 'SINGLE_NODE_READER_ONLY'
  | 'MULTI_NODE_READER_ONLY'
  | 'MULTI_NODE_SINGLE_WRITER'
  | 'MULTI_NODE_MULTI_WRITER'
  | 'SINGLE_NODE_SINGLE_WRITER'
  | 'SINGLE_NODE_MULTI_WRITER';

export interface VolumeCapability {
  mount: { fsType: string; mountFlags: string[]; volumeMountGroup?: string };
  accessMode: { mode: AccessMode };
}

export type NodeCapability =
  | 'STAGE_UNSTAGE_VOLUME'
  | 'GET_VOLUME_STATS'
  | 'EXPAND_VOLUME'
  | 'VOLUME_CONDITION'
  | 'SINGLE_NODE_MULTI_WRITER'
  | 'VOLUME_MOUNT_GROUP';

export interface NodeInfo {
  nodeId: string;
  maxVolumesPerNode: number;
  accessibleTopology: { segments: Record<string, string> } | null;
}

export interface VolumeStats {
  usage: { available: number; total: number; used: number; unit: 'UNKNOWN' | 'BYTES' | 'INODES' }[];
  volumeCondition: { abnormal: boolean; message: string } | null;
}

/** The node side of one CSI driver. Failures are `RpcError`s; secrets are never logged. */
export class CsiNodeClient {
  readonly #grpc: GrpcTransport;
  #capabilities: Promise<Set<NodeCapability>> | undefined;

  constructor(socket: string) {
    this.#grpc = new GrpcTransport(socket, csiDefinition());
  }

  close(): void {
    this.#grpc.close();
  }

  #node<T>(method: string, request: object, options: CallOptions = { timeoutMs: 120_000 }): Promise<T> {
    return this.#grpc.unary<T>(node, method, request, options);
  }

  async pluginName(): Promise<string> {
    return (await this.#grpc.unary<{ name: string }>(identity, 'GetPluginInfo', {}, { timeoutMs: 5_000 })).name;
  }

  info(): Promise<NodeInfo> {
    return this.#node('NodeGetInfo', {}, { timeoutMs: 10_000 });
  }

  async has(capability: NodeCapability): Promise<boolean> {
    this.#capabilities ??= this.#node<{ capabilities: { rpc: { type: NodeCapability } | null }[] }>(
      'NodeGetCapabilities',
      {},
      { timeoutMs: 10_000 },
    ).then((answer) => new Set(answer.capabilities.flatMap((c) => (c.rpc ? [c.rpc.type] : []))));
    try {
      return (await this.#capabilities).has(capability);
    } catch (error) {
      this.#capabilities = undefined;
      throw error;
    }
  }

  async stage(request: {
    volumeId: string;
    publishContext: Record<string, string>;
    stagingTargetPath: string;
    volumeCapability: VolumeCapability;
    secrets: Record<string, string>;
    volumeContext: Record<string, string>;
  }): Promise<void> {
    await this.#node('NodeStageVolume', request);
  }

  async unstage(volumeId: string, stagingTargetPath: string): Promise<void> {
    await this.#gone('NodeUnstageVolume', { volumeId, stagingTargetPath });
  }

  async publish(request: {
    volumeId: string;
    publishContext: Record<string, string>;
    stagingTargetPath: string;
    targetPath: string;
    volumeCapability: VolumeCapability;
    readonly: boolean;
    secrets: Record<string, string>;
    volumeContext: Record<string, string>;
  }): Promise<void> {
    await this.#node('NodePublishVolume', request);
  }

  async unpublish(volumeId: string, targetPath: string): Promise<void> {
    await this.#gone('NodeUnpublishVolume', { volumeId, targetPath });
  }

  async #gone(method: string, request: object): Promise<void> {
    try {
      await this.#node(method, request);
    } catch (error) {
      if (!(error instanceof RpcError && error.status === 'NOT_FOUND')) throw error;
    }
  }

  stats(volumeId: string, volumePath: string, stagingTargetPath: string): Promise<VolumeStats> {
    return this.#node('NodeGetVolumeStats', { volumeId, volumePath, stagingTargetPath }, { timeoutMs: 10_000 });
  }

  async expand(request: {
    volumeId: string;
    volumePath: string;
    stagingTargetPath: string;
    capacityRange: { requiredBytes: number };
    volumeCapability: VolumeCapability;
    secrets: Record<string, string>;
  }): Promise<number> {
    return (await this.#node<{ capacityBytes: number }>('NodeExpandVolume', request)).capacityBytes;
  }
}
