import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { emptyMgrMap } from '../maps/mgrmap.ts';
import { emptyServiceMap } from '../maps/servicemap.ts';
import { PG_ACTIVE, PG_CLEAN, PG_DEGRADED, zeroOsdCounters } from '../wire/messages/osd_mgr.ts';
import { addrV2 } from '../wire/types.ts';
import { ClusterStats } from './cluster-stats.ts';
import { HealthHistory, type SeenCheck } from './health-history.ts';
import { type ClusterFacts, readFacts } from './prometheus-facts.ts';
import { type Measured, prometheusText } from './prometheus.ts';
import { report, smallMap } from './small-cluster.testing.ts';

const version = 'ceph version 16.2.15';

const facts: ClusterFacts = {
  health: 'HEALTH_WARN',
  checks: new Map([['SLOW_OPS', 'HEALTH_WARN']]),
  counts: new Map([['SLOW_OPS', 3]]),
  history: new Map<string, SeenCheck>([
    ['SLOW_OPS', { name: 'SLOW_OPS', severity: 'HEALTH_WARN', first_seen: 1, last_seen: 1, count: 1, active: true }],
    ['OSD_DOWN', { name: 'OSD_DOWN', severity: 'HEALTH_WARN', first_seen: 1, last_seen: 1, count: 1, active: false }],
  ]),
  mons: [
    { name: 'a', rank: 0, inQuorum: true, address: '10.0.0.1' },
    { name: 'b', rank: 1, inQuorum: false, address: '10.0.0.2' },
  ],
  monMetadata: [{ name: 'a', hostname: 'one', ceph_version: version }],
  mgrMetadata: [{ name: 'a', hostname: 'one', ceph_version: version }],
  osdMetadata: [0, 1].map((id) => ({
    id,
    hostname: 'one',
    ceph_version: version,
    osd_objectstore: 'bluestore',
    front_addr: '[v2:10.0.0.1:6800/7]',
    back_addr: '[v2:10.1.0.1:6801/7]',
    bluestore_bdev_dev_node: '/dev/sda',
    devices: 'sda',
    device_ids: 'sda=ACME_1',
  })),
};

function measured(): Measured {
  const stats = new ClusterStats(smallMap());
  const pools = new Map([
    [
      1,
      {
        dataBytes: 3000,
        allocatedBytes: 4096,
        omapBytes: 0,
        compressed: { stored: 1, allocated: 2048, original: 8192 },
      },
    ],
  ]);
  const counters = { ...zeroOsdCounters(), op: 7, opW: 4, opWSeconds: 0.5 };
  for (const osd of [0, 1, 2]) {
    const state = PG_ACTIVE + (osd === 2 ? PG_DEGRADED : PG_CLEAN);
    stats.applyReport({ ...report(stats, osd, 1, { state }, { counters }), pools });
  }
  const addr = addrV2('10.0.0.1', 6800, 7);
  const rgw = {
    ...{ gid: 1n, addr, startEpoch: 1, startStamp: { sec: 1, nsec: 0 }, taskStatus: new Map<string, string>() },
    metadata: new Map([
      ['id', 'store'],
      ['hostname', 'one'],
    ]),
  };
  const module = (name: string) => ({ name, canRun: true, error: '', options: new Map() });
  return {
    stats,
    facts,
    mgrMap: {
      ...emptyMgrMap,
      activeName: 'a',
      standbys: new Map([[9n, { gid: 9n, name: 'b', modules: [], features: 0n }]]),
      modules: ['prometheus'],
      availableModules: ['balancer', 'prometheus', 'other'].map(module),
      alwaysOnModules: new Map([[16, ['balancer']]]),
    },
    services: {
      ...emptyServiceMap,
      services: new Map(
        ['rgw', 'rbd-mirror'].map((service) => [service, { daemons: new Map([['4711', rgw]]), summary: '' }]),
      ),
    },
  };
}

/** Metrics of upstream that are not here. A name stands for all that begin with it. */
const absent: readonly (readonly [names: readonly string[], reason: string])[] = [
  [['fs_metadata', 'mds_', 'purge_queue_', 'objecter_'], 'file systems are not served by this engine'],
  [['rbd_read_', 'rbd_write_'], 'OSDs do not count what is done to single images (`osd_perf_query`)'],
  [
    ['bluestore_', 'bluefs_', 'rocksdb_', 'prioritycache', 'bluestore_pricache'],
    'inside of a store that is another one here: `ceph tell osd.N perf dump` has its own counters',
  ],
  [
    ['paxos_', 'mon_election_', 'mon_num_', 'mon_session_'],
    'inside of mons, which agree by Raft and do not report to mgrs',
  ],
  [
    ['daemon_health_metrics'],
    'OSDs do not report how many of their requests are slow: the mons see it, `healthcheck_slow_ops` counts it',
  ],
  [['prometheus_collect_duration_seconds_'], "how long parts of upstream's module take, which are not parts here"],
  [
    ['osd_op_prepare_', 'osd_op_process_', 'osd_op_r_prepare_', 'osd_op_r_process_', 'osd_op_w_prepare_'],
    'a request is timed from its arrival to its reply',
  ],
  [['osd_op_w_process_', 'osd_op_rw_prepare_', 'osd_op_rw_process_', 'osd_op_wip', 'osd_numpg_removing'], 'the same'],
];

interface Family {
  name: string;
  type: string;
  labels: string;
}

function upstream(): Family[] {
  const text = readFileSync(new URL('./testdata/prometheus-16.2.15.txt', import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name, type, labels] = line.split(' ') as [string, string, string];
      return { name, type, labels };
    });
}

function families(text: string): Family[] {
  const out: Family[] = [];
  for (const line of text.split('\n')) {
    const head = /^# TYPE ceph_(\S+) (\S+)$/.exec(line);
    if (head !== null) out.push({ name: head[1]!, type: head[2]!, labels: '' });
    const sample = /^ceph_([^{ ]+)\{(.*)\} /.exec(line);
    const family = out.at(-1);
    if (sample === null || family === undefined) continue;
    expect(sample[1]).toBe(family.name);
    family.labels = [...sample[2]!.matchAll(/(\w+)="/g)]
      .map(([, name]) => name)
      .sort()
      .join(',');
  }
  return out;
}

const reasonFor = (name: string): string | undefined =>
  absent.find(([names]) => names.some((begin) => name.startsWith(begin)))?.[1];

describe('metrics for Prometheus', () => {
  test("are upstream's by name, type and labels; what is missing has a reason", () => {
    const mine = families(prometheusText(measured()));
    const theirs = upstream();
    const named = new Set(mine.map(({ name }) => name));
    expect(theirs.filter(({ name }) => !named.has(name) && reasonFor(name) === undefined)).toEqual([]);
    const text = ({ labels, name, type }: Family): string => `${name} ${type} ${labels}`;
    const known = theirs.filter(({ name }) => reasonFor(name) === undefined);
    // Nothing of our own either.
    expect(mine.map(text).sort()).toEqual(known.map(text).sort());
  });

  test('a reason for what is there, or never was, is none', () => {
    const mine = families(prometheusText(measured()));
    expect(mine.filter(({ name }) => reasonFor(name) !== undefined)).toEqual([]);
    const theirs = upstream();
    const needless = absent
      .flatMap(([names]) => names)
      .filter((begin) => !theirs.some(({ name }) => name.startsWith(begin)));
    expect(needless).toEqual([]);
  });

  test('values', () => {
    const lines = prometheusText(measured()).split('\n');
    for (const line of [
      'ceph_health_status 1',
      'ceph_health_detail{name="SLOW_OPS",severity="HEALTH_WARN"} 1',
      'ceph_health_detail{name="OSD_DOWN",severity="HEALTH_WARN"} 0',
      'ceph_healthcheck_slow_ops 3',
      'ceph_mon_quorum_status{ceph_daemon="mon.b"} 0',
      `ceph_mon_metadata{ceph_daemon="mon.a",hostname="one",public_addr="10.0.0.1",rank="0",ceph_version="${version}"} 1`,
      'ceph_mgr_status{ceph_daemon="mgr.a"} 1',
      'ceph_mgr_status{ceph_daemon="mgr.b"} 0',
      'ceph_mgr_module_status{name="balancer"} 2',
      'ceph_mgr_module_status{name="prometheus"} 1',
      'ceph_mgr_module_status{name="other"} 0',
      'ceph_rgw_metadata{ceph_daemon="rgw.store",hostname="one",ceph_version="",instance_id="4711"} 1',
      'ceph_osd_up{ceph_daemon="osd.2"} 1',
      'ceph_osd_flag_nodeep_scrub 0',
      'ceph_osd_op{ceph_daemon="osd.0"} 7',
      'ceph_osd_op_w_latency_sum{ceph_daemon="osd.0"} 0.5',
      'ceph_osd_op_w_latency_count{ceph_daemon="osd.0"} 4',
      'ceph_osd_op_r{ceph_daemon="osd.0"} 0',
      'ceph_disk_occupation{ceph_daemon="osd.1",device="/dev/sda",db_device="",wal_device="",instance="one",devices="sda",device_ids="sda=ACME_1"} 1',
      'ceph_disk_occupation_human{ceph_daemon="osd.0, osd.1",device="/dev/sda",instance="one"} 1',
      'ceph_pool_metadata{pool_id="1",name="data",type="replicated",description="replica:2",compression_mode="none"} 1',
      'ceph_pool_stored{pool_id="1"} 4500',
      'ceph_pool_bytes_used{pool_id="1"} 12288',
      'ceph_pool_compress_bytes_used{pool_id="1"} 6144',
      'ceph_pool_compress_under_bytes{pool_id="1"} 24576',
      'ceph_pg_total{pool_id="1"} 8',
      'ceph_pg_active{pool_id="1"} 8',
      'ceph_pg_unknown{pool_id="1"} 0',
    ])
      expect(lines).toContain(line);
    expect(lines.find((line) => line.startsWith('ceph_osd_metadata{')) ?? '').toContain(
      'cluster_addr="10.1.0.1",device_class="",front_iface="",hostname="one",objectstore="bluestore",public_addr="10.0.0.1"',
    );
  });

  test('a mon that does not answer leaves metrics out, and no check is taken for gone', async () => {
    const kept: Record<string, string>[] = [];
    const history = new HealthHistory(async (command) => {
      kept.push(command as Record<string, string>);
      return { code: -2, status: '', output: new Uint8Array() };
    });
    const read = await readFacts(
      async ({ prefix }) =>
        prefix === 'mon metadata'
          ? { code: 0, status: '', output: utf8('no JSON') }
          : { code: -11, status: 'not now', output: new Uint8Array() },
      async (checks) => {
        await history.see(checks, 0);
        return await history.all();
      },
    );
    expect(read).toMatchObject({ health: undefined, mons: [], monMetadata: [], osdMetadata: [] });
    expect(kept).toEqual([]);
    const text = prometheusText({ ...measured(), facts: read });
    expect(text).not.toContain('ceph_health_status');
    expect(text).toContain('ceph_osd_up{ceph_daemon="osd.0"} 1');
  });

  test('facts are those of the mons', async () => {
    const answers: Record<string, unknown> = {
      health: { status: 'HEALTH_ERR', checks: { OSD_FULL: { severity: 'HEALTH_ERR', summary: { count: 2 } } } },
      quorum_status: {
        quorum: [1],
        monmap: {
          mons: [
            { rank: 0, name: 'a', public_addr: '10.0.0.1:6789/0' },
            { rank: 1, name: 'b', public_addr: '10.0.0.2:6789/0' },
          ],
        },
      },
      'mon metadata': [{ name: 'a' }],
      'mgr metadata': [],
      'osd metadata': [{ id: 0 }],
    };
    const read = await readFacts(
      async ({ prefix }) => ({ code: 0, status: '', output: utf8(JSON.stringify(answers[String(prefix)])) }),
      async (checks) =>
        new Map([...checks].map(([name, severity]) => [name, { ...facts.history.get('OSD_DOWN')!, name, severity }])),
    );
    expect([read.health, [...read.checks], [...read.counts], [...read.history.keys()]]).toEqual([
      'HEALTH_ERR',
      [['OSD_FULL', 'HEALTH_ERR']],
      [['OSD_FULL', 2]],
      ['OSD_FULL'],
    ]);
    expect(read.mons).toEqual([
      { name: 'a', rank: 0, inQuorum: false, address: '10.0.0.1' },
      { name: 'b', rank: 1, inQuorum: true, address: '10.0.0.2' },
    ]);
  });
});
