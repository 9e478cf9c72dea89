import { type Clock, sleep } from '../base/clock.ts';
import { AppError, errorText } from '../base/errors.ts';
import { utf8Text } from '../base/bytes.ts';
import type { Logger } from '../base/log.ts';
import type { KubeClient } from '../kube/client/api.ts';
import type { Desired, DesiredSource } from './objects.ts';

/** The part of a mon session that the operator needs. */
export interface MonCommands {
  command(command: Record<string, unknown>): Promise<{ code: number; status: string; output: Uint8Array }>;
}

export interface Operator {
  /** What is still to do, in words; undefined when everything is as desired. */
  pending(): string | undefined;
  stop(): Promise<void>;
}

const fieldManager = 'appliance-operator';
const retryMs = 1000;
/** Objects and the pool are looked after again so often: a user's `kubectl delete` of them heals. */
const resyncMs = 300_000;
/** Sources are looked at so often, as K3s does with its manifests. */
const sourcesMs = 15_000;

/** Applies an object server-side, overriding others where they differ. */
export async function applyObject(client: KubeClient, { resource, object }: Desired): Promise<void> {
  await client.patch(resource, object.metadata.name, object.metadata.namespace, 'apply', object, {
    fieldManager,
    force: true,
  });
}

/** One thing to bring about; `ensure` is repeated until it succeeds, and then at every resync. */
interface Task {
  what: string;
  ensure(): Promise<void>;
  /** Monotonic milliseconds of the next time that it is looked after. */
  dueMs: number;
  failures: number;
  problem: string | undefined;
}

function task(what: string, ensure: () => Promise<void>): Task {
  return { what, ensure, dueMs: 0, failures: 0, problem: undefined };
}

/**
 * Brings about the storage class and what stands behind it, the cluster's own services, and what `sources` want. Objects are applied server-side under the field
 * manager `appliance-operator`; one that is refused keeps no other from being applied.
 */
export function startOperator(options: {
  client: KubeClient;
  mon: (() => Promise<MonCommands>) | undefined;
  /** The pool that the storage class has volumes made in. */
  pool: string;
  objects: readonly Desired[];
  /** As they are now; asked every 15 s. */
  sources(): readonly DesiredSource[];
  clock: Clock;
  log: Logger;
}): Operator {
  const { client, clock, log, mon, pool } = options;
  const stopping = new AbortController();
  const own = options.objects.map(({ resource, object }) =>
    task(
      `${object.kind} ${object.metadata.namespace ? `${object.metadata.namespace}/` : ''}${object.metadata.name}`,
      () => applyObject(client, { resource, object }),
    ),
  );
  if (mon) own.push(task(`pool ${pool}`, async () => ensureBlockPool(await mon(), pool)));
  const fromSources = new Map<string, { version: string; task: Task }>();
  let begun = false;
  let sourcesDueMs = 0;

  const lookAtSources = (): void => {
    const sources = options.sources();
    const names = new Set(sources.map(({ what }) => what));
    // What a source wanted stays when the source goes.
    for (const what of fromSources.keys()) if (!names.has(what)) fromSources.delete(what);
    for (const { read, version, what } of sources)
      if (fromSources.get(what)?.version !== version)
        fromSources.set(what, {
          version,
          task: task(what, async () => {
            for (const desired of await read()) await applyObject(client, desired);
          }),
        });
  };
  const all = (): Task[] => [...own, ...[...fromSources.values()].map((one) => one.task)];

  const look = async (one: Task): Promise<void> => {
    try {
      await one.ensure();
      one.failures = 0;
      one.problem = undefined;
      one.dueMs = clock.monotonic() + resyncMs;
    } catch (error) {
      one.problem = errorText(error);
      one.failures++;
      one.dueMs = clock.monotonic() + Math.min(sourcesMs, retryMs * one.failures);
      if (one.failures === 1 || one.failures % 30 === 0)
        log.warn('not there yet', { what: one.what, attempt: one.failures, error: one.problem });
    }
  };
  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      if (clock.monotonic() >= sourcesDueMs) {
        try {
          lookAtSources();
        } catch (error) {
          log.warn('cannot look at the manifests', { error: errorText(error) });
        }
        sourcesDueMs = clock.monotonic() + sourcesMs;
      }
      for (const one of all()) if (!stopping.signal.aborted && clock.monotonic() >= one.dueMs) await look(one);
      begun = true;
      const next = Math.min(sourcesDueMs, ...all().map(({ dueMs }) => dueMs));
      await sleep(clock, Math.max(0, next - clock.monotonic()), stopping.signal);
    }
  };
  const running = run();
  return {
    pending: () => {
      if (!begun) return 'starts';
      const failing = all().find(({ problem }) => problem !== undefined);
      return failing && `${failing.what}: ${failing.problem}`;
    },
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

async function ensureBlockPool(mon: MonCommands, pool: string): Promise<void> {
  const must = async (command: Record<string, unknown>): Promise<Uint8Array> => {
    const { code, status, output } = await mon.command(command);
    if (code !== 0) throw new AppError('MON_COMMAND', `${String(command.prefix)}: ${status || `error ${code}`}`);
    return output;
  };
  const pools = JSON.parse(utf8Text(await must({ prefix: 'osd pool ls', format: 'json' }))) as string[];
  if (!pools.includes(pool)) await must({ prefix: 'osd pool create', pool, pg_num: 32 });
  const applications = JSON.parse(
    utf8Text(await must({ prefix: 'osd pool application get', pool, format: 'json' })),
  ) as Record<string, unknown>;
  if (!applications.rbd) await must({ prefix: 'osd pool application enable', pool, app: 'rbd' });
}
