import { type CallOptions, GrpcTransport, isNotFound } from '../../../rpc/grpc-transport.ts';
import { containerdDefinition, criDefinition } from '../../../rpc/proto/load.ts';
import type {
  ContainerConfig,
  CriContainer,
  CriContainerStats,
  CriContainerStatus,
  CriImage,
  ExecSyncResult,
  FilesystemUsage,
  LinuxContainerResources,
  PodSandbox,
  PodSandboxConfig,
  PodSandboxStatus,
} from './types.ts';

const runtime = 'runtime.v1.RuntimeService';
const images = 'runtime.v1.ImageService';
const events = 'containerd.services.events.v1.Events';

/** What happened in containerd: a topic such as `/tasks/exit` and the container or sandbox that it happened to. */
export interface RuntimeEvent {
  topic: string;
  containerId: string;
}

interface Envelope {
  namespace: string;
  topic: string;
  event: { typeUrl: string; value: Uint8Array } | null;
}

/** Reads field 1 (a string) of any /tasks/* event; '' when the bytes are something else. */
export function eventContainerId(value: Uint8Array): string {
  if (value[0] !== 0x0a) return '';
  const length = value[1] ?? 0;
  if (length > 127 || value.length < 2 + length) return '';
  return new TextDecoder().decode(value.subarray(2, 2 + length));
}

/** The Container Runtime Interface of one containerd. Failures are `RpcError`s. */
export class CriClient {
  readonly #cri: GrpcTransport;
  readonly #containerd: GrpcTransport;

  constructor(socket: string) {
    this.#cri = new GrpcTransport(socket, criDefinition());
    this.#containerd = new GrpcTransport(socket, containerdDefinition());
  }

  close(): void {
    this.#cri.close();
    this.#containerd.close();
  }

  #runtime<T>(name: string, request: object, options?: CallOptions): Promise<T> {
    return this.#cri.unary<T>(runtime, name, request, options);
  }

  version(): Promise<{ runtimeName: string; runtimeVersion: string; runtimeApiVersion: string }> {
    return this.#runtime('Version', { version: 'v1' }, { timeoutMs: 5_000 });
  }

  async conditions(): Promise<{ type: string; status: boolean; reason: string; message: string }[]> {
    const answer = await this.#runtime<{
      status: { conditions: { type: string; status: boolean; reason: string; message: string }[] } | null;
    }>('Status', {}, { timeoutMs: 10_000 });
    return answer.status?.conditions ?? [];
  }

  async runPodSandbox(config: PodSandboxConfig, runtimeHandler = ''): Promise<string> {
    const answer = await this.#runtime<{ podSandboxId: string }>(
      'RunPodSandbox',
      { config, runtimeHandler },
      { timeoutMs: 240_000 },
    );
    return answer.podSandboxId;
  }

  async stopPodSandbox(podSandboxId: string): Promise<void> {
    await this.#gone('StopPodSandbox', { podSandboxId }, 120_000);
  }

  async removePodSandbox(podSandboxId: string): Promise<void> {
    await this.#gone('RemovePodSandbox', { podSandboxId }, 120_000);
  }

  async #gone(name: string, request: object, timeoutMs: number): Promise<void> {
    try {
      await this.#runtime(name, request, { timeoutMs });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async podSandboxStatus(podSandboxId: string): Promise<PodSandboxStatus> {
    const answer = await this.#runtime<{ status: PodSandboxStatus }>('PodSandboxStatus', { podSandboxId });
    return answer.status;
  }

  async listPodSandbox(labelSelector: Record<string, string> = {}): Promise<PodSandbox[]> {
    const answer = await this.#runtime<{ items: PodSandbox[] }>('ListPodSandbox', { filter: { labelSelector } });
    return answer.items;
  }

  async createContainer(
    podSandboxId: string,
    config: ContainerConfig,
    sandboxConfig: PodSandboxConfig,
  ): Promise<string> {
    const answer = await this.#runtime<{ containerId: string }>(
      'CreateContainer',
      { podSandboxId, config, sandboxConfig },
      { timeoutMs: 120_000 },
    );
    return answer.containerId;
  }

  async startContainer(containerId: string): Promise<void> {
    await this.#runtime('StartContainer', { containerId }, { timeoutMs: 120_000 });
  }

  /** Asks with the image's stop signal, kills after `graceSeconds`; returns when the container has ended. */
  async stopContainer(containerId: string, graceSeconds: number): Promise<void> {
    await this.#gone('StopContainer', { containerId, timeout: graceSeconds }, graceSeconds * 1000 + 120_000);
  }

  async removeContainer(containerId: string): Promise<void> {
    await this.#gone('RemoveContainer', { containerId }, 60_000);
  }

  async listContainers(labelSelector: Record<string, string> = {}): Promise<CriContainer[]> {
    const answer = await this.#runtime<{ containers: CriContainer[] }>('ListContainers', { filter: { labelSelector } });
    return answer.containers;
  }

  async containerStatus(containerId: string): Promise<CriContainerStatus> {
    const answer = await this.#runtime<{ status: CriContainerStatus }>('ContainerStatus', { containerId });
    return answer.status;
  }

  async updateContainerResources(containerId: string, linux: LinuxContainerResources): Promise<void> {
    await this.#runtime('UpdateContainerResources', { containerId, linux });
  }

  async reopenContainerLog(containerId: string): Promise<void> {
    await this.#runtime('ReopenContainerLog', { containerId });
  }

  execSync(containerId: string, cmd: readonly string[], timeoutSeconds: number): Promise<ExecSyncResult> {
    return this.#runtime(
      'ExecSync',
      { containerId, cmd, timeout: timeoutSeconds },
      { timeoutMs: timeoutSeconds > 0 ? timeoutSeconds * 1000 + 5_000 : 0 },
    );
  }

  async exec(request: {
    containerId: string;
    cmd: readonly string[];
    tty: boolean;
    stdin: boolean;
    stdout: boolean;
    stderr: boolean;
  }): Promise<string> {
    return (await this.#runtime<{ url: string }>('Exec', request)).url;
  }

  async attach(request: {
    containerId: string;
    tty: boolean;
    stdin: boolean;
    stdout: boolean;
    stderr: boolean;
  }): Promise<string> {
    return (await this.#runtime<{ url: string }>('Attach', request)).url;
  }

  async portForward(podSandboxId: string, port: readonly number[]): Promise<string> {
    return (await this.#runtime<{ url: string }>('PortForward', { podSandboxId, port })).url;
  }

  async listContainerStats(): Promise<CriContainerStats[]> {
    const answer = await this.#runtime<{ stats: CriContainerStats[] }>('ListContainerStats', { filter: {} });
    return answer.stats;
  }

  async listImages(): Promise<CriImage[]> {
    return (await this.#cri.unary<{ images: CriImage[] }>(images, 'ListImages', {})).images;
  }

  /** Null when the image is not on this node. */
  async imageStatus(image: string): Promise<CriImage | null> {
    return (await this.#cri.unary<{ image: CriImage | null }>(images, 'ImageStatus', { image: { image } })).image;
  }

  async pullImage(image: string, auth?: object): Promise<string> {
    const request = auth === undefined ? { image: { image } } : { image: { image }, auth };
    return (await this.#cri.unary<{ imageRef: string }>(images, 'PullImage', request, { timeoutMs: 600_000 })).imageRef;
  }

  async removeImage(image: string): Promise<void> {
    await this.#cri.unary(images, 'RemoveImage', { image: { image } });
  }

  async imageFsInfo(): Promise<FilesystemUsage[]> {
    return (await this.#cri.unary<{ imageFilesystems: FilesystemUsage[] }>(images, 'ImageFsInfo', {})).imageFilesystems;
  }

  /** containerd's own event stream, namespace k8s.io, task events only. Throws when the stream breaks. */
  async *events(signal: AbortSignal): AsyncGenerator<RuntimeEvent> {
    const filters = ['/tasks/start', '/tasks/exit', '/tasks/oom', '/tasks/delete'].map(
      (t) => `namespace==k8s.io,topic=="${t}"`,
    );
    for await (const envelope of this.#containerd.serverStream<Envelope>(events, 'Subscribe', { filters }, signal)) {
      yield { topic: envelope.topic, containerId: eventContainerId(envelope.event?.value ?? new Uint8Array()) };
    }
  }
}
