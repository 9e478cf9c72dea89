import { utf8Text } from '../../../internal/base/bytes.ts';
import { AppError, errorText } from '../../../internal/base/errors.ts';
import { type LogFields, silentLogger } from '../../../internal/base/log.ts';
import { seededRandom } from '../../../internal/base/random.ts';
import { newCryptoKey } from '../../../internal/ceph/auth/crypto.ts';
import { handleClients } from '../../../internal/ceph/mon/handlers/clients.ts';
import { handleLog } from '../../../internal/ceph/mon/handlers/log.ts';
import { handleOsds } from '../../../internal/ceph/mon/handlers/osds.ts';
import { handleStats } from '../../../internal/ceph/mon/stats.ts';
import { handleCommands } from '../../../internal/ceph/mon/commands/dispatch.ts';
import { monCommands } from '../../../internal/ceph/mon/commands/all.ts';
import { NotLeadingError } from '../../../internal/ceph/mon/errno.ts';
import { loadState } from '../../../internal/ceph/mon/load.ts';
import { mkfs, storeFirst } from '../../../internal/ceph/mon/mkfs.ts';
import { Mon } from '../../../internal/ceph/mon/mon.ts';
import { memberUrls } from '../../../internal/ceph/mon/quorum/mon-map.ts';
import { tick, tickMs } from '../../../internal/ceph/mon/tick.ts';
import { addrV2, type EntityAddrVec, parseEntityName } from '../../../internal/ceph/wire/types.ts';
import { encodeOsdMap } from '../../../internal/ceph/maps/osdmap-codec.ts';
import { LOG_DEBUG } from '../../../internal/ceph/wire/messages/log.ts';
import { StoreClosedError } from '../../../internal/store/errors.ts';
import type { Life, SimulatedGroup, SimulatedMember } from '../store/group.ts';
import { Violation } from '../store/history.ts';
import { Peer } from './peer.ts';

const fsid = '1f6f2a3c-7d57-4d0b-9f0e-3a8b1c2d4e5f';
const commands = monCommands();

/** Mons on the members of a simulated group: one life of one for each life of a member's process. */
export class SimulatedMons {
  readonly #mons = new Map<SimulatedMember, { life: Life; mon: Mon }>();
  /** Hash of every OSDMap that any mon ever had, by epoch. */
  readonly #maps = new Map<number, string>();
  readonly #ids = new Set<bigint>();

  constructor(readonly group: SimulatedGroup) {
    group.above = (member, life) => ({
      member: {
        name: member.name,
        peerUrls: [`https://10.0.0.${member.name.charCodeAt(0)}:3301`],
        clientUrls: memberUrls(this.addrs(member)),
      },
      application: {
        leadership: () => this.#of(member, life)?.quorum.leadership(),
        answer: (question) => {
          const mon = this.#of(member, life);
          if (mon === undefined) throw new NotLeadingError();
          return mon.quorum.answer(question);
        },
      },
    });
    group.onOpen = (member, life) => {
      this.#start(member, life).catch((error: unknown) => {
        if (error instanceof StoreClosedError || life.clock.dead) return;
        group.violate(new Violation(`mon.${member.name} does not start: ${errorText(error)}`));
      });
    };
  }

  addrs(member: SimulatedMember): EntityAddrVec {
    return [addrV2(`10.0.0.${member.name.charCodeAt(0)}`, 3300, 0)];
  }

  #of(member: SimulatedMember, life: Life): Mon | undefined {
    const known = this.#mons.get(member);
    return known?.life === life ? known.mon : undefined;
  }

  /** Mons that live. */
  get alive(): { member: SimulatedMember; mon: Mon }[] {
    return [...this.#mons].flatMap(([member, { life, mon }]) => (member.life === life ? [{ member, mon }] : []));
  }

  async #start(member: SimulatedMember, life: Life & { store: NonNullable<Life['store']> }): Promise<void> {
    const { group } = this;
    const { clock, store } = life;
    const random = seededRandom(group.world.random.uint32());
    if (member.join === undefined && store.alone && (await loadState(store)) === undefined) {
      const key = newCryptoKey(clock.now(), random);
      const draft = mkfs({
        fsid,
        name: member.name,
        addrs: this.addrs(member),
        entities: new Map([['client.admin', { key, caps: { mon: 'allow *', osd: 'allow *' } }]]),
        failureDomain: 'osd',
        config: [{ who: 'global', name: 'osd_pool_default_size', value: '1' }],
        nowMs: clock.now(),
      });
      await storeFirst(store, draft);
    }
    let loaded = await loadState(store);
    while (loaded === undefined) {
      await new Promise<void>((resolve) => clock.after(100, resolve));
      loaded = await loadState(store);
    }
    const mon = new Mon({
      name: member.name,
      addrs: this.addrs(member),
      store,
      group: store,
      clock,
      random,
      log: {
        ...silentLogger,
        error: (message: string, fields?: LogFields) => {
          if (!life.clock.dead)
            group.violate(new Violation(`mon.${member.name}: ${message} ${errorText(fields?.error)}`));
        },
      },
      loaded,
      metadata: new Map([['hostname', member.name]]),
      upstreamOptions: () => [],
      peerPort: 3301,
    });
    handleClients(mon);
    handleOsds(mon);
    handleLog(mon);
    handleStats(mon);
    handleCommands(mon, commands);
    this.#mons.set(member, { life, mon });
    const before = mon.maps.add.bind(mon.maps);
    mon.maps.add = (increments) => {
      before(increments);
      this.#checkMap(member, mon);
    };
    mon.start();
    const schedule = (): void => {
      clock.after(tickMs, () => {
        tick(mon, 0);
        schedule();
      });
    };
    schedule();
    await mon.prepare();
    group.say(`mon.${member.name} serves`);
  }

  /** One epoch, one map. */
  #checkMap(member: SimulatedMember, mon: Mon): void {
    const { osdmap } = mon.state;
    const hash = hashOf(mapBytes(osdmap));
    const known = this.#maps.get(osdmap.epoch);
    this.#maps.set(osdmap.epoch, hash);
    if (known !== undefined && known !== hash)
      this.group.violate(new Violation(`mon.${member.name} has another OSDMap ${osdmap.epoch} than there was`));
  }

  /** Somebody who is let in by a mon gets a global id. */
  admit(mon: Mon): void {
    try {
      const id = mon.keyServer.nextGlobalId();
      if (this.#ids.has(id)) this.group.violate(new Violation(`global id ${id} is given twice`));
      this.#ids.add(id);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
    }
  }

  get ids(): number {
    return this.#ids.size;
  }

  /** A session with a mon that serves; undefined when it serves nobody. */
  connect(mon: Mon): Peer | undefined {
    const peer = new Peer(mon, parseEntityName('client.admin')!);
    return peer.open ? peer : undefined;
  }

  /** What every mon must agree on, as text. In what order they learnt of things may differ. */
  static picture({ state }: Mon): string {
    const { auth, config, configKeys, log, monmap, monMetadata, mutes, osdmap, osdmapFirst } = state;
    const sorted = <K, V>(map: ReadonlyMap<K, V>): [K, V][] => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    return JSON.stringify({
      osdmap: [osdmap.epoch, hashOf(mapBytes(osdmap)), osdmapFirst],
      auth: [[...auth.entities.keys()].sort(), auth.reservedGlobalId, auth.imported],
      rotating: sorted(auth.rotating).map(([service, secrets]) => [
        service,
        secrets.map(({ id, key }) => [id, Buffer.from(key.secret).toString('hex')]),
      ]),
      config: [
        config.version,
        sorted(config.values).map(([who, values]) => [who, sorted(values)]),
        config.history.length,
      ],
      configKeys: sorted(configKeys).map(([key, value]) => [key, utf8Text(value)]),
      monmap: [monmap.epoch, monmap.mons.map(({ name }) => name)],
      monMetadata: [...monMetadata.keys()].sort(),
      log: log.filter(({ entry }) => entry.level !== LOG_DEBUG).map(({ id, entry }) => [id, entry.message]),
      mutes,
    });
  }
}

function mapBytes(map: Mon['state']['osdmap']): Uint8Array {
  // A copy: the encoder notes the CRC in the map that it is given.
  return encodeOsdMap(map.copy());
}

function hashOf(bytes: Uint8Array): string {
  return Bun.hash(bytes).toString(16);
}
