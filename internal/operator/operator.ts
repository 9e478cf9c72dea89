import { type Clock, sleep } from '../base/clock.ts';
import { AppError, errorText } from '../base/errors.ts';
import { utf8Text } from '../base/bytes.ts';
import type { Logger } from '../base/log.ts';
import type { KubeClient } from '../kube/client/api.ts';
import { blockPool, type Desired } from './objects.ts';

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
}

/**
 * Brings about the storage class and what stands behind it, and the cluster's own services. Objects are applied server-side, one after
 * another, under the field manager `appliance-operator`.
 */
export function startOperator(options: {
  client: KubeClient;
  mon: (() => Promise<MonCommands>) | undefined;
  objects: readonly Desired[];
  clock: Clock;
  log: Logger;
}): Operator {
  const { client, clock, log } = options;
  const stopping = new AbortController();
  let pending: string | undefined = 'starts';
  const tasks: Task[] = options.objects.map(({ resource, object }) => ({
    what: `${object.kind} ${object.metadata.namespace ? `${object.metadata.namespace}/` : ''}${object.metadata.name}`,
    ensure: () => applyObject(client, { resource, object }),
  }));
  const { mon } = options;
  if (mon) tasks.push({ what: `pool ${blockPool}`, ensure: async () => ensureBlockPool(await mon()) });

  const run = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      for (const task of tasks) {
        for (let attempt = 1; !stopping.signal.aborted; attempt++) {
          try {
            await task.ensure();
            break;
          } catch (error) {
            pending = `${task.what}: ${errorText(error)}`;
            if (attempt === 1 || attempt % 30 === 0)
              log.warn('not there yet', { what: task.what, attempt, error: errorText(error) });
            await sleep(clock, retryMs, stopping.signal);
          }
        }
      }
      pending = undefined;
      await sleep(clock, resyncMs, stopping.signal);
    }
  };
  const running = run();
  return {
    pending: () => pending,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

async function ensureBlockPool(mon: MonCommands): Promise<void> {
  const must = async (command: Record<string, unknown>): Promise<Uint8Array> => {
    const { code, status, output } = await mon.command(command);
    if (code !== 0) throw new AppError('MON_COMMAND', `${String(command.prefix)}: ${status || `error ${code}`}`);
    return output;
  };
  const pools = JSON.parse(utf8Text(await must({ prefix: 'osd pool ls', format: 'json' }))) as string[];
  if (!pools.includes(blockPool)) await must({ prefix: 'osd pool create', pool: blockPool, pg_num: 32 });
  const applications = JSON.parse(
    utf8Text(await must({ prefix: 'osd pool application get', pool: blockPool, format: 'json' })),
  ) as Record<string, unknown>;
  if (!applications.rbd) await must({ prefix: 'osd pool application enable', pool: blockPool, app: 'rbd' });
}
