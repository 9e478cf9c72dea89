import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorText } from '../../base/errors.ts';
import { writeFileAtomic } from '../../base/files-system.ts';
import type { Logger } from '../../base/log.ts';
import type { ResizeRecord } from './pod/resize.ts';
import { type Pod, podUid } from './pod-types.ts';

interface Record1 {
  version: 1;
  pod: Pod;
  /** Absent where the pod has what its spec asks for. */
  resize?: ResizeRecord;
}

/** The pods of this node as they were last known, on disk, so that they can run while the API server is away. */
export class Checkpoints {
  readonly #directory: string;
  readonly #log: Logger;
  readonly #written = new Map<string, string>();

  constructor(directory: string, log: Logger) {
    this.#directory = directory;
    this.#log = log;
  }

  async load(): Promise<Pick<Record1, 'pod' | 'resize'>[]> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const out: Record1[] = [];
    for (const name of await readdir(this.#directory)) {
      if (!name.endsWith('.json')) continue;
      try {
        const record = JSON.parse(await readFile(join(this.#directory, name), 'utf8')) as Record1;
        if (record.version !== 1 || !record.pod?.metadata?.uid) throw new Error('unknown version');
        out.push(record);
      } catch (error) {
        this.#log.warn('pod record is unreadable and is left out', { file: name, error: errorText(error) });
      }
    }
    return out;
  }

  /** Keeps the pod; writes only when something other than its heartbeat-like fields changed. */
  save(pod: Pod, resize?: ResizeRecord): void {
    const { metadata } = pod;
    const key = JSON.stringify([
      metadata.generation,
      metadata.deletionTimestamp,
      metadata.labels,
      metadata.annotations,
      pod.spec,
      pod.status?.phase,
      resize,
    ]);
    if (this.#written.get(podUid(pod)) === key) return;
    this.#written.set(podUid(pod), key);
    const { managedFields: _left, ...rest } = metadata as typeof metadata & { managedFields?: unknown };
    const record: Record1 = {
      version: 1,
      pod: { ...pod, metadata: rest },
      ...(resize === undefined ? {} : { resize }),
    };
    writeFileAtomic(join(this.#directory, `${podUid(pod)}.json`), JSON.stringify(record), 0o600);
  }

  async remove(uid: string): Promise<void> {
    this.#written.delete(uid);
    await rm(join(this.#directory, `${uid}.json`), { force: true });
  }
}
