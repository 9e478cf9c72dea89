import { AppError } from '../../base/errors.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { Decoder } from '../wire/encoding.ts';
import { MOSDMap } from '../wire/messages/mon.ts';
import {
  MPoolOp,
  MPoolOpReply,
  MStatfs,
  MStatfsReply,
  type MStatfsReplyValue,
  POOL_OP_CREATE_UNMANAGED_SNAP,
  POOL_OP_DELETE_UNMANAGED_SNAP,
} from '../wire/messages/mon_stats.ts';
import type { CommandResult, MonClient, MonClientOptions } from './api.ts';
import { DaemonCommands } from './daemon-commands.ts';
import { ENOENT, RadosError } from './errors.ts';
import { type IoCtxOptions, PoolIo } from './ioctx.ts';
import type { RadosClient } from './rados-api.ts';
import { Lingers } from './linger.ts';
import { MapFollower } from './map-follower.ts';
import { createMonClient } from './mon-client.ts';
import { Objecter } from './objecter.ts';

export type RadosClientOptions = Omit<MonClientOptions, 'dispatcher' | 'rotatingService'>;

/** A client of a cluster: ours or a real one. */
export class Rados implements RadosClient {
  readonly mon: MonClient;
  readonly #maps: MapFollower;
  readonly #objecter: Objecter;
  readonly #lingers: Lingers;
  readonly #commands: DaemonCommands;

  constructor(options: RadosClientOptions) {
    this.mon = createMonClient({
      ...options,
      dispatcher: {
        onReady: (c) => this.#objecter.onReady(c),
        onMessage: (c, message) => {
          if (!this.#commands.handle(message)) this.#objecter.onMessage(c, message);
        },
        onClose: (c, reason) => {
          this.#commands.onClose(c, reason.message);
          this.#objecter.onClose(c, reason);
        },
      },
    });
    this.#maps = new MapFollower(this.mon, options.log);
    this.#objecter = new Objecter({
      clock: options.clock,
      log: options.log,
      messenger: this.mon.messenger,
      maps: this.#maps,
      onWatchNotify: (m) => this.#lingers.handle(m),
      onDisturbed: () => this.#lingers.disturbed(),
    });
    this.#lingers = new Lingers(this.#objecter, options.clock, options.log);
    this.#commands = new DaemonCommands(this.mon, options.clock);
    this.mon.on(MOSDMap, (value) => this.#maps.handle(value));
  }

  /** Resolves with a session and a first OSDMap. */
  async start(timeoutMs = 30_000): Promise<void> {
    await this.mon.start(timeoutMs);
    this.#maps.start();
    await this.#maps.atLeast(1);
  }

  get globalId(): bigint {
    return this.mon.globalId;
  }

  get map(): OsdMap {
    return this.#maps.map;
  }

  /** Waits for the newest OSDMap that is committed. */
  latestMap(): Promise<void> {
    return this.#maps.latest();
  }

  /** I/O in a pool, by name or id; RadosError ENOENT when there is none, also in the newest map. */
  async ioctx(pool: string | number, options: IoCtxOptions = {}): Promise<PoolIo> {
    const find = (): { id: number; name: string } | undefined => {
      const id = typeof pool === 'number' ? pool : this.map.poolId(pool);
      const name = id === undefined ? undefined : this.map.poolNames.get(id);
      return id === undefined || name === undefined ? undefined : { id, name };
    };
    let found = find();
    if (found === undefined) {
      await this.#maps.latest();
      found = find();
    }
    if (found === undefined) throw new RadosError(ENOENT, `pool ${pool}`);
    return new PoolIo({ objecter: this.#objecter, lingers: this.#lingers, maps: this.#maps }, found, options);
  }

  /** A pool's name; asks for the newest map before it says that there is none. */
  async poolName(id: number): Promise<string | undefined> {
    if (!this.map.poolNames.has(id)) await this.#maps.latest();
    return this.map.poolNames.get(id);
  }

  /** A mon command; see `check` for those that must succeed. */
  command(command: Record<string, unknown>, input?: Uint8Array, timeoutMs?: number): Promise<CommandResult> {
    return this.mon.command(command, input, timeoutMs);
  }

  /** A mon command that must succeed; its output as text. */
  async check(command: Record<string, unknown>, input?: Uint8Array): Promise<string> {
    const { code, status, output } = await this.mon.command(command, input);
    if (code < 0) throw new AppError('COMMAND', `${String(command.prefix)}: ${status || `error ${code}`}`);
    return Buffer.from(output).toString('utf8');
  }

  mgrCommand(command: Record<string, unknown>, input?: Uint8Array, timeoutMs?: number): Promise<CommandResult> {
    return this.#commands.mgr(command, input, timeoutMs);
  }

  osdCommand(
    osd: number,
    command: Record<string, unknown>,
    input?: Uint8Array,
    timeoutMs?: number,
  ): Promise<CommandResult> {
    if (!this.map.isUp(osd)) return Promise.reject(new AppError('OSD_DOWN', `osd.${osd} is not up`));
    return this.#commands.osd(this.map.clientAddrsOf(osd), command, input, timeoutMs);
  }

  /** Totals of the cluster, or of what one pool can hold. */
  statfs(pool?: number): Promise<MStatfsReplyValue> {
    return this.mon.request(MStatfs, { fsid: this.mon.fsid, pool }, MStatfsReply);
  }

  async createSelfManagedSnap(pool: number): Promise<bigint> {
    const data = await this.#poolOp(pool, POOL_OP_CREATE_UNMANAGED_SNAP, 0n);
    if (data === undefined) throw new AppError('PROTOCOL', 'the mon gave no snapshot id');
    return new Decoder(data).u64b();
  }
  async removeSelfManagedSnap(pool: number, snapId: bigint): Promise<void> {
    await this.#poolOp(pool, POOL_OP_DELETE_UNMANAGED_SNAP, snapId);
  }

  async #poolOp(pool: number, op: number, snapId: bigint): Promise<Uint8Array | undefined> {
    const value = { version: this.map.epoch, fsid: this.mon.fsid, pool, op, snapId, name: '', crushRule: 0 };
    const reply = await this.mon.request(MPoolOp, value, MPoolOpReply);
    if (reply.code < 0) throw new RadosError(reply.code, `snapshot operation on pool ${pool}`);
    await this.#maps.atLeast(reply.epoch);
    return reply.data;
  }

  async close(): Promise<void> {
    this.#lingers.close();
    this.#objecter.close();
    this.#commands.close();
    await this.mon.close();
  }
}

/** A connected client. Rejects when no mon answers in time or the key is refused. */
export async function connectRados(options: RadosClientOptions, timeoutMs?: number): Promise<Rados> {
  const client = new Rados(options);
  try {
    await client.start(timeoutMs);
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}
