import * as fs from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { systemDisk } from '../../base/disk-system.ts';
import { utf8, utf8Text } from '../../base/bytes.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { openStore, resetCluster } from '../../store/store.ts';
import type { MonClient } from '../client/api.ts';
import { decodeMonMap } from '../maps/monmap.ts';
import { addrV2 } from '../wire/types.ts';
import { keys } from './keys.ts';
import { mkfs, storeFirst } from './mkfs.ts';
import { fsid, Harness } from './role.testing.ts';
import { writeSelf } from './self-system.ts';

const harnesses: Harness[] = [];

afterEach(async () => {
  for (const harness of harnesses.splice(0).reverse()) {
    await harness.stop();
    fs.rmSync(harness.data, { recursive: true, force: true });
  }
});

function harness(ip: string, like?: Harness, clockAheadMs = 0): Harness {
  const made = new Harness({ ip, ...(like && { like }), clockAheadMs });
  harnesses.push(made);
  return made;
}

async function command(client: MonClient, args: Record<string, unknown>): Promise<string> {
  const answer = await client.command(args);
  if (answer.code !== 0) throw new Error(`${String(args.prefix)}: ${answer.code} ${answer.status}`);
  return answer.output.length > 0 ? utf8Text(answer.output) : answer.status;
}

async function until<T>(what: string, ask: () => Promise<T> | T, good: (value: T) => boolean): Promise<T> {
  let last: unknown;
  for (let n = 0; n < 200; n++) {
    try {
      const value = await ask();
      last = value;
      if (good(value)) return value;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not in time: ${what}; last: ${JSON.stringify(last)?.slice(0, 500)} ${String(last)}`);
}

interface QuorumStatus {
  quorum_names: string[];
  quorum_leader_name: string;
  monmap: { epoch: number; mons: { name: string }[] };
}

const quorumOf = async (client: MonClient): Promise<QuorumStatus> =>
  JSON.parse(await command(client, { prefix: 'quorum_status', format: 'json' })) as QuorumStatus;

/** A mon that comes to a cluster, as a node does when it joins. */
async function join(admin: MonClient, first: Harness, ip: string, clockAheadMs = 0): Promise<Harness> {
  const other = harness(ip, first, clockAheadMs);
  const asked = { node: other.node, addr: `v2:${ip}:${other.port}/0`, peer_url: `https://${ip}:${other.peerPort}` };
  const answer = await command(admin, { prefix: 'mon join', ...asked });
  // Asked again after a crash it is the same.
  expect(await command(admin, { prefix: 'mon join', ...asked })).toBe(answer);
  await other.prepare();
  writeSelf(other.dir, JSON.parse(answer) as { name: string; cluster: string; member: string });
  await other.start();
  return other;
}

async function three(lastAheadMs = 0): Promise<{ first: Harness; others: Harness[]; admin: MonClient }> {
  const first = harness('127.0.1.1');
  await first.prepare();
  await first.start();
  const admin = await first.client('client.admin');
  await command(admin, { prefix: 'osd pool create', pool: 'before', pg_num: 1 });
  const others = [await join(admin, first, '127.0.1.2'), await join(admin, first, '127.0.1.3', lastAheadMs)];
  await until(
    'three in quorum',
    () => quorumOf(admin),
    ({ quorum_names: names }) => names.length === 3,
  );
  return { first, others, admin };
}

interface TimeStatus {
  time_skew_status: Record<string, { skew: number; latency: number; health: string }>;
  timechecks: { round_status: string };
}

describe('several mons', () => {
  test('a clock that is ahead: told with the mon and by how much, until it is allowed', async () => {
    const { admin } = await three(7000);
    // However slow this machine is, half of the way there is not counted as skew.
    await command(admin, { prefix: 'config set', who: 'mon', name: 'mon_clock_drift_allowed', value: '3' });
    const health = (): Promise<string> => command(admin, { prefix: 'health', detail: 'detail' });
    const text = await until('a warning', health, (said) => said.includes('MON_CLOCK_SKEW'));
    expect(text).toMatch(/\[WRN\] MON_CLOCK_SKEW: clock skew detected on mon\.c\n/);
    expect(text).toMatch(/ {4}mon\.c clock skew [67]\.?\d*s > max 3s \(latency [\d.e-]+s\)\n/);
    const asked = await command(admin, { prefix: 'time-sync-status', format: 'json' });
    const { time_skew_status: skews, timechecks } = JSON.parse(asked) as TimeStatus;
    // The leader is what the others are measured by.
    expect(skews.a).toEqual({ skew: 0, latency: 0, health: 'HEALTH_OK' });
    expect(Object.keys(skews)).toEqual(['a', 'b', 'c']);
    expect([skews.b!.health, skews.c!.health]).toEqual(['HEALTH_OK', 'HEALTH_WARN']);
    expect(skews.c!.skew).toBeGreaterThan(5);
    expect(timechecks.round_status).toBe('finished');
    await command(admin, { prefix: 'config set', who: 'mon', name: 'mon_clock_drift_allowed', value: '60' });
    await until('no warning', health, (said) => !said.includes('MON_CLOCK_SKEW'));
  });

  test('join one after another, serve the same from each, and go on without the one that leads', async () => {
    const { first, others, admin } = await three();
    const status = await quorumOf(admin);
    expect(status.quorum_names).toEqual(['a', 'b', 'c']);
    expect(status.quorum_leader_name).toBe('a');
    expect(await command(admin, { prefix: 'mon stat' })).toMatch(
      /^e\d+: 3 mons at \{a=\[?v2:127\.0\.1\.1:\d+\/0\]?,b=.*,c=.*\} removed_ranks: \{\}, election epoch \d+, leader 0 a, quorum 0,1,2 a,b,c\n$/,
    );
    // A majority of votes is a matter of moments.
    await until(
      'all have votes',
      () => others[1]!.handle!.health().detail,
      (detail) => detail.includes('3 mons in quorum'),
    );
    for (const other of others) {
      const client = await other.client('client.admin');
      expect(JSON.parse(await command(client, { prefix: 'osd pool ls', format: 'json' }))).toContain('before');
      await command(client, { prefix: 'osd pool create', pool: `at-${other.node}`, pg_num: 1 });
      const pools = JSON.parse(await command(admin, { prefix: 'osd pool ls', format: 'json' })) as string[];
      expect(pools).toContain(`at-${other.node}`);
      const map = decodeMonMap((await client.command({ prefix: 'mon getmap' })).output);
      expect(map.mons.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
      expect(map.mons[1]!.addrs).toEqual([addrV2('127.0.1.2', others[0]!.port, 0)]);
    }
    const metadata = JSON.parse(await command(admin, { prefix: 'mon metadata', format: 'json' })) as { name: string }[];
    expect(metadata.map(({ name }) => name)).toEqual(['a', 'b', 'c']);

    // One client is connected with a, one with each other; whoever is asked counts them all.
    interface Features {
      mon: { num: number }[];
      client: { num: number }[];
    }
    const features = async (client: MonClient): Promise<Features> =>
      JSON.parse(await command(client, { prefix: 'features', format: 'json' })) as Features;
    await until(
      'all clients are counted',
      () => features(admin),
      ({ client, mon }) => client[0]!.num === 3 && mon[0]!.num === 3,
    );
    expect((await features(await others[0]!.client('client.rbd'))).client[0]!.num).toBeGreaterThanOrEqual(3);

    await command(admin, { prefix: 'mon set election_strategy', strategy: 'disallow' });
    await command(admin, { prefix: 'mon add disallowed_leader', name: 'a' });
    await until(
      'a hands the lead on',
      () => quorumOf(admin),
      ({ quorum_leader_name: leader, quorum_names: names }) => leader !== 'a' && names.length === 3,
    );
    expect(await command(admin, { prefix: 'mon add disallowed_leader', name: 'a' })).toBe(
      'mon.a is already disallowed',
    );
    await command(admin, { prefix: 'mon rm disallowed_leader', name: 'a' });
    await command(admin, { prefix: 'mon set_location', name: 'b', args: ['datacenter=x'] });
    const dump = JSON.parse(await command(admin, { prefix: 'mon dump', format: 'json' })) as { mons: unknown[] };
    expect(dump.mons[1]).toMatchObject({ crush_location: '{datacenter=x}' });

    const [b] = others;
    const client = await b!.client('client.admin');
    await first.stop();
    const after = await until(
      'another one leads',
      () => quorumOf(client),
      ({ quorum_leader_name: leader, quorum_names: names }) => leader !== 'a' && names.length === 2,
    );
    expect(after.quorum_names).toEqual(['b', 'c']);
    await command(client, { prefix: 'osd pool create', pool: 'without-a', pg_num: 1 });
    await until(
      'health says who is down',
      () => command(client, { prefix: 'health', detail: 'detail' }),
      (text) =>
        /MON_DOWN.*1\/3 mons down, quorum b,c\n\s+mon\.a \(rank 0\) addr .* is down \(out of quorum\)/s.test(text),
    );
    expect(await command(client, { prefix: 'status' })).toMatch(
      /mon: 3 daemons, quorum b,c \(age .*\), out of quorum: a\n/,
    );

    await first.start();
    const again = await first.client('client.admin');
    const pools = JSON.parse(await command(again, { prefix: 'osd pool ls', format: 'json' })) as string[];
    expect(pools).toContain('without-a');
    await until(
      'all are back',
      () => quorumOf(again),
      ({ quorum_names: names }) => names.length === 3,
    );

    expect(await command(client, { prefix: 'mon rm', name: 'c' })).toMatch(
      /^removing mon\.c at .*, there will be 2 monitors$/,
    );
    await until(
      'c is gone',
      () => quorumOf(client),
      ({ monmap, quorum_names: names }) => monmap.mons.length === 2 && !names.includes('c'),
    );
    expect(await command(client, { prefix: 'mon rm', name: 'c' })).toBe(
      'mon.c does not exist or has already been removed',
    );
  }, 120_000);

  test('all get other addresses at once: one in ceph.conf is enough for them to find each other, and the map follows', async () => {
    const { first, others, admin } = await three();
    await until(
      'all have votes',
      () => others[1]!.handle!.health().detail,
      (detail) => detail.includes('3 mons in quorum'),
    );
    await command(admin, { prefix: 'osd pool create', pool: 'kept', pg_num: 1 });
    const mons = [first, ...others];
    for (const mon of mons) await mon.stop();
    const known = [`[v2:127.0.2.1:${first.port}]`];
    for (const [i, mon] of mons.entries()) await mon.moveTo(`127.0.2.${i + 1}`, known);
    await Promise.all(mons.map((mon) => mon.start()));
    const again = await others[1]!.client('client.admin');
    const status = await until(
      'they agree',
      () => quorumOf(again),
      ({ quorum_names: names }) => names.length === 3,
    );
    expect(status.quorum_names).toEqual(['a', 'b', 'c']);
    const map = await until(
      'the map has the new addresses',
      async () => decodeMonMap((await again.command({ prefix: 'mon getmap' })).output),
      ({ mons: infos }) => infos.every(({ addrs }) => addrs[0]!.ip.startsWith('127.0.2.')),
    );
    expect(map.mons.map(({ addrs }) => addrs[0]!.ip)).toEqual(['127.0.2.1', '127.0.2.2', '127.0.2.3']);
    expect(JSON.parse(await command(again, { prefix: 'osd pool ls', format: 'json' }))).toContain('kept');
  });

  test('two of three are gone: the third says nothing, and lets nobody in', async () => {
    const { others, first } = await three();
    const c = others[1]!;
    const client = await c.client('client.admin');
    await until(
      'all have votes',
      () => c.handle!.health().detail,
      (detail) => detail.includes('3 mons in quorum'),
    );
    await first.stop();
    await others[0]!.stop();
    await until(
      'it is out of quorum',
      () => c.handle!.health().detail,
      (detail) => detail.startsWith('out of quorum'),
    );
    await expect(client.command({ prefix: 'osd pool ls' }, undefined, 3000)).rejects.toThrow();
    await expect(c.client('client.admin')).rejects.toThrow();

    // Given up by hand, it goes on alone with everything it has.
    await c.stop();
    await resetCluster({
      dir: c.dir,
      disk: systemDisk,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      member: { name: 'c', peerUrls: [`https://${c.ip}:${c.peerPort}`], clientUrls: [`v2:${c.ip}:${c.port}/0`] },
    });
    await c.start();
    const alone = await c.client('client.admin');
    const { monmap, quorum_names: names } = await until(
      'it is the only one',
      () => quorumOf(alone),
      (status) => status.monmap.mons.length === 1,
    );
    expect([names, monmap.mons.map(({ name }) => name)]).toEqual([['c'], ['c']]);
    expect(await command(alone, { prefix: 'osd pool ls' })).toContain('before');
    await command(alone, { prefix: 'osd pool create', pool: 'after', pg_num: 1 });
  }, 120_000);

  test('a store of the time before there were several goes on, with everything in it', async () => {
    const old = harness('127.0.1.9');
    fs.mkdirSync(old.dir, { recursive: true });
    const store = await openStore({
      dir: old.dir,
      disk: systemDisk,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    const admin = old.entries.get('client.admin')!;
    await storeFirst(
      store,
      mkfs({
        fsid,
        name: 'a',
        addrs: [addrV2(old.ip, old.port, 0)],
        entities: new Map([['client.admin', admin]]),
        failureDomain: 'osd',
        config: [{ who: 'global', name: 'osd_pool_default_size', value: '2' }],
        nowMs: Date.now(),
      }),
    );
    expect((await store.range({ key: utf8(keys.version) })).count).toBe(0);
    await store.close();
    await old.prepare();
    for (const round of [1, 2]) {
      await old.start();
      const client = await old.client('client.admin');
      expect(await command(client, { prefix: 'config get', who: 'osd', key: 'osd_pool_default_size' })).toBe('2\n');
      await command(client, { prefix: 'osd pool create', pool: `p${round}`, pg_num: 1 });
      const { monmap, quorum_names: names } = await quorumOf(client);
      expect([names, monmap.epoch]).toEqual([['a'], 1]);
      await old.stop();
    }
    await old.start();
    const client = await old.client('client.admin');
    expect(JSON.parse(await command(client, { prefix: 'osd pool ls', format: 'json' }))).toEqual(['p1', 'p2']);
  });
});
