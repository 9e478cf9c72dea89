import { beforeEach, describe, expect, test } from 'vitest';
import { emptyBytes, utf8, utf8Text } from '../../../base/bytes.ts';
import { seededRandom } from '../../../base/random.ts';
import { emptyServiceMap } from '../../maps/servicemap.ts';
import { readArguments } from '../../mon/commands/signature.ts';
import { Refusal } from '../../mon/errno.ts';
import { PG_ACTIVE, PG_CLEAN } from '../../wire/messages/osd_mgr.ts';
import { Balancer } from '../balancer.ts';
import { ClusterStats } from '../cluster-stats.ts';
import { Crashes } from '../crashes.ts';
import { defaultHealthOptions } from '../health.ts';
import { Devices } from '../devices.ts';
import { HealthHistory } from '../health-history.ts';
import { ModuleOptions } from '../module-options.ts';
import { ProgressTracker } from '../progress.ts';
import { nextMap, report, smallMap } from '../small-cluster.testing.ts';
import type { MgrView } from './context.ts';
import { mgrCommandTable } from './table.ts';

const table = mgrCommandTable();
const nowMs = Date.parse('2026-11-21T12:00:00Z');

/** What a mon keeps for modules: settings and values. */
class Kept {
  config: ReadonlyMap<string, string> = new Map();
  readonly keys = new Map<string, string>();
  readonly told: Record<string, unknown>[] = [];
  /** To what is asked. */
  readonly answers: Record<string, string> = {};

  readonly mon: MgrView['mon'] = async (command, input) => {
    const { prefix, key, name, value } = command as Record<string, string>;
    let output = this.answers[prefix!] ?? '';
    if (output === 'ENOENT') return { code: -2, status: 'not there', output: emptyBytes };
    if (prefix === 'config set') this.config = new Map(this.config).set(name!, value!);
    else if (prefix === 'config-key set') this.keys.set(key!, utf8Text(input!));
    else if (prefix === 'config-key get') {
      if (!this.keys.has(key!)) return { code: -2, status: 'not there', output: emptyBytes };
      output = this.keys.get(key!)!;
    } else if (prefix === 'config-key rm') this.keys.delete(key!);
    else if (prefix === 'config-key dump')
      output = JSON.stringify(Object.fromEntries([...this.keys].filter(([each]) => each.startsWith(key!))));
    else this.told.push(command);
    return { code: 0, status: '', output: utf8(output) };
  };
}

let kept: Kept;
let stats: ClusterStats;
let view: MgrView;

/** A mgr that has just become active. */
function newMgr(): MgrView {
  const modules = new ModuleOptions(() => kept.config, kept.mon);
  const random = seededRandom(1);
  return {
    stats,
    options: defaultHealthOptions,
    services: emptyServiceMap,
    progress: new ProgressTracker(random),
    balancer: new Balancer(modules, random),
    devices: new Devices(modules, kept.mon),
    history: new HealthHistory(kept.mon),
    metricsPort: 9283,
    crashes: new Crashes(modules, kept.mon),
    modules,
    config: kept.config,
    input: emptyBytes,
    time: { now: () => nowMs, monotonic: () => 0 },
    ready: true,
    version: '',
    nowMs: () => nowMs,
    forceRecovery: () => false,
    scrub: () => false,
    mon: kept.mon,
  };
}

async function run(prefix: string, given: Record<string, unknown> = {}, input = ''): Promise<string> {
  const [command] = table.find(prefix);
  const format = given.format === 'json' ? 'json' : 'plain';
  try {
    const answer = await command!.handler!(
      { ...view, input: utf8(input) },
      readArguments(command!.signature, given),
      format,
    );
    return String(answer.output ?? '') || (answer.status ?? '');
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return `${error.errno}: ${error.message}`;
  }
}

beforeEach(() => {
  kept = new Kept();
  const map = nextMap(smallMap(), (inc) => {
    const pool = { ...smallMap().pools.get(1)!, size: 1, pgNum: 64, pgpNum: 64, pgNumTarget: 64, pgpNumTarget: 64 };
    inc.newPools.set(1, pool);
    // All of them on osd.0, by hand.
    for (let seed = 0; seed < 64; seed++)
      inc.newPgUpmapItems.set(1, seed, [
        [1, 0],
        [2, 0],
      ]);
  });
  stats = new ClusterStats(map);
  stats.applyMap(map, nowMs);
  for (const [, stat] of stats.pgs.entries()) stat.state = PG_ACTIVE + PG_CLEAN;
  view = newMgr();
});

describe('balancer', () => {
  test('what is set outlives the mgr, and a new configuration counts more than what was set before', async () => {
    expect(JSON.parse(await run('balancer status'))).toMatchObject({ active: true, mode: 'upmap', plans: [] });
    await run('balancer off');
    await run('balancer mode', { mode: 'none' });
    await run('balancer pool add', { pools: ['data'] });
    view = newMgr();
    expect(JSON.parse(await run('balancer status'))).toMatchObject({ active: false, mode: 'none' });
    expect(JSON.parse(await run('balancer pool ls'))).toEqual(['data']);
    expect(await run('balancer pool add', { pools: ['x', 'data'] })).toBe("22: pool(s) ['x'] not found");
    kept.config = new Map(kept.config).set('mgr/balancer/mode', 'upmap');
    expect(JSON.parse(await run('balancer status'))).toMatchObject({ mode: 'upmap' });
    await run('balancer pool rm', { pools: ['data'] });
    expect(await run('balancer pool ls')).toBe('');
  });

  test('a plan is made, shown, evaluated and carried out; only while it does not work of itself', async () => {
    expect(await run('balancer optimize', { plan: 'p' })).toBe('22: Balancer enabled, disable to optimize manually');
    await run('balancer off');
    expect(await run('balancer optimize', { plan: 'p', pools: ['x'] })).toBe("22: pools ['x'] not found");
    expect(await run('balancer optimize', { plan: 'p' })).toBe('');
    expect(JSON.parse(await run('balancer ls'))).toEqual(['p']);
    const shown = (await run('balancer show', { plan: 'p' })).trimEnd().split('\n');
    expect(shown.slice(0, 3)).toEqual(['# starting osdmap epoch 2', '# starting crush version 2', '# mode upmap']);
    expect(shown).toHaveLength(13);
    expect(shown[3]).toMatch(/^ceph osd (rm-pg-upmap-items 1\.\w+|pg-upmap-items 1\.\w+( \d)+)$/);
    const dumped = JSON.parse(await run('balancer dump', { plan: 'p' }));
    expect(dumped.old_pg_upmap_items.length + dumped.new_pg_upmap_items.length).toBe(10);
    expect(await run('balancer eval', { option: 'p' })).toMatch(/^plan "p" score 0\.\d{6} \(lower is better\)\n$/);
    expect(await run('balancer eval', { option: 'nothing' })).toBe('22: option "nothing" not a plan or a pool');
    expect(await run('balancer eval-verbose', { option: 'data' })).toMatch(
      /^pool "data"\ntarget_by_root {'default': {0: 0\.3333333333333333, 1: 0\.\d+, 2: 0\.\d+}}\n/,
    );
    await run('balancer execute', { plan: 'p' });
    expect(kept.told).toHaveLength(10);
    expect(kept.told[0]).toMatchObject({ pgid: expect.stringMatching(/^1\./) });
    expect(await run('balancer show', { plan: 'p' })).toBe('2: plan p not found');
    expect(JSON.parse(await run('balancer status'))).toMatchObject({
      last_optimize_started: 'Sat Nov 21 12:00:00 2026',
      last_optimize_duration: '0:00:00',
      optimize_result: 'Optimization plan created successfully',
    });
  });

  test('nothing is moved while something is wrong, or much is moving, or outside of its hours', async () => {
    await run('balancer off');
    const [, first] = [...stats.pgs.entries()][0]!;
    const result = (): Promise<string> => run('balancer optimize', { plan: 'p' });
    first.state = 0;
    expect(await result()).toBe('11: Some PGs (0.015625) are unknown; try again later');
    first.state = PG_CLEAN;
    expect(await result()).toBe('11: Some PGs (0.015625) are inactive; try again later');
    first.state = PG_ACTIVE;
    first.sums.objectCopies = 10;
    first.sums.objectsMisplaced = 5;
    expect(await result()).toBe('11: Too many objects (0.500000 > 0.050000) are misplaced; try again later');
    first.sums.objectsDegraded = 1;
    expect(await result()).toBe('11: Some objects (0.100000) are degraded; try again later');
    expect(view.balancer.permitted(nowMs)).toBe(true);
    await view.balancer.set('begin_time', '2200');
    await view.balancer.set('end_time', '0600');
    expect(view.balancer.permitted(nowMs)).toBe(false);
    expect(view.balancer.permitted(nowMs + 11 * 3600_000)).toBe(true);
    await view.balancer.set('begin_weekday', '1');
    await view.balancer.set('end_weekday', '6');
    // A Saturday.
    expect(view.balancer.permitted(nowMs + 11 * 3600_000)).toBe(false);
  });
});

describe('crashes', () => {
  const report = (id: string, timestamp: string, more: object = {}): string =>
    JSON.stringify({
      crash_id: id,
      timestamp,
      entity_name: 'osd.1',
      utsname_hostname: 'vm',
      process_name: 'ceph-osd',
      ...more,
    });

  test('are kept for the next mgr, warned of until they are archived, and forgotten', async () => {
    expect(await run('crash stat')).toBe('0 crashes recorded\n');
    const backtrace = ['(_start()+0x2a) [0x1]', '(main()+0x10) [0x2]'];
    await run('crash post', {}, report('new', '2026-11-21T10:00:00.123456Z', { backtrace }));
    await run('crash post', {}, report('old', '2026-11-16 10:00:00.000000Z'));
    await run('crash post', {}, report('ancient', '2020-01-01T00:00:00.000000Z'));
    view = newMgr();
    expect(view.crashes.checks(nowMs)).toEqual([]);
    expect(await run('crash ls')).toBe(
      'ID       ENTITY  NEW  \nancient  osd.1    *   \nnew      osd.1    *   \nold      osd.1    *   \n',
    );
    expect(view.crashes.checks(nowMs)).toEqual([
      {
        code: 'RECENT_CRASH',
        severity: 'HEALTH_WARN',
        summary: '2 daemons have recently crashed',
        count: 2,
        detail: [
          'osd.1 crashed on host vm at 2026-11-21T10:00:00.123456Z',
          'osd.1 crashed on host vm at 2026-11-16 10:00:00.000000Z',
        ],
      },
    ]);
    expect(JSON.parse(await run('crash info', { id: 'new' })).stack_sig).toMatch(/^[0-9a-f]{64}$/);
    expect(await run('crash stat')).toBe(
      '3 crashes recorded\n2 older than 1 days old:\nold\nancient\n2 older than 3 days old:\nold\nancient\n1 older than 7 days old:\nancient\n',
    );
    expect(await run('crash json_report', { hours: '24' })).toBe('{"ceph-osd": 3}');
    await run('crash archive', { id: 'new' });
    expect(
      JSON.parse(await run('crash ls-new', { format: 'json' })).map(({ crash_id: id }: { crash_id: string }) => id),
    ).toEqual(['ancient', 'old']);
    expect(JSON.parse(await run('crash info', { id: 'new' })).archived).toBe('2026-11-21 12:00:00.000000');
    await run('crash archive-all');
    expect(view.crashes.checks(nowMs)).toEqual([]);
    await run('crash prune', { keep: '30' });
    await run('crash rm', { id: 'old' });
    expect([...kept.keys.keys()]).toEqual(['mgr/crash/crash/new']);
    await view.crashes.prune(nowMs);
    expect(kept.keys.size).toBe(0);
  });

  test.each([
    ['', /^malformed crash metadata: /],
    ['[1]', /^malformed crash metadata: no JSON object/],
    ['{"timestamp": "2026-11-21T10:00:00.1Z"}', /^malformed crash metadata: missing 'crash_id' field/],
    ['{"crash_id": "x", "timestamp": "yesterday"}', /does not match format/],
    ['{"crash_id": "../x\\n", "timestamp": "2026-11-21T10:00:00.1Z"}', /crash_id is no id/],
  ])('%j is refused', async (text, why) => {
    expect(await run('crash post', {}, text)).toMatch(why);
    expect(kept.keys.size).toBe(0);
  });
});

test('noautoscale: all pools and those that come; twice changes nothing', async () => {
  expect(await run('osd pool get noautoscale')).toBe('noautoscale is off');
  expect(await run('osd pool set noautoscale')).toBe('noautoscale is set, all pools now have autoscale off');
  expect(kept.config.get('osd_pool_default_pg_autoscale_mode')).toBe('off');
  expect(kept.told).toEqual([{ prefix: 'osd pool set', pool: 'data', var: 'pg_autoscale_mode', val: 'off' }]);
  view = newMgr();
  expect(await run('osd pool get noautoscale')).toBe('noautoscale is on');
  expect(await run('osd pool set noautoscale')).toBe('noautoscale is already set!');
  expect(await run('osd pool unset noautoscale')).toBe('noautoscale is unset, all pools now have autoscale on');
  expect(await run('osd pool unset noautoscale')).toBe('noautoscale is already unset!');
  expect(kept.told.at(-1)).toMatchObject({ val: 'on' });
});

describe('reweight', () => {
  /** OSDs of 10 GiB that have so many used. */
  function filled(...usedGib: number[]): void {
    for (const [osdId, used] of usedGib.entries())
      stats.applyReport(report(stats, osdId, 1, {}, { availableBytes: (10 - used) * 2 ** 30 }));
  }

  test('the fullest give a little, those below the average that had given get some back', async () => {
    stats.applyMap(
      nextMap(stats.map, (inc) => inc.newWeight.set(2, 0xc000)),
      nowMs,
    );
    filled(8, 4, 3);
    const shown = await run('osd test-reweight-by-utilization');
    expect(shown).toContain('average_utilization 0.5000\noverload_utilization 0.6000\n');
    expect(shown).toContain('osd.0 weight 1.0000 -> 0.9500\nosd.2 weight 0.7500 -> 0.8000\n');
    expect(kept.told).toEqual([]);
    expect(await run('osd reweight-by-utilization', { max_change: 0.5, max_osds: 1 })).toContain(
      'weight 1.0000 -> 0.6250',
    );
    expect(kept.told).toEqual([{ prefix: 'osd reweightn', weights: '{"0":"40960"}' }]);
    const json = JSON.parse(await run('osd test-reweight-by-utilization', { no_increasing: true, format: 'json' }));
    expect(json.reweights).toEqual(
      [{ osd: 0, weight: 1, new_weight: 0.9500122 }].map((one) => ({ ...one, new_weight: expect.closeTo(0.95, 3) })),
    );
  });

  test('by PGs: of the pools named', async () => {
    for (const [, stat] of stats.pgs.entries()) stat.acting = [0];
    expect(await run('osd test-reweight-by-pg', { pools: ['data'] })).toBe(
      // All are on one: it is its own average.
      await run('osd test-reweight-by-pg'),
    );
    for (const [{ seed }, stat] of stats.pgs.entries()) stat.acting = [seed < 40 ? 0 : 1];
    expect(await run('osd test-reweight-by-pg')).toContain('osd.0 weight 1.0000 -> 0.9500\n');
    expect(await run('osd test-reweight-by-pg', { pools: ['x'] })).toBe("2: pool 'x' does not exist");
  });

  test('refuses what it cannot judge', async () => {
    expect(await run('osd reweight-by-utilization', { oload: 100 })).toMatch(
      /^22: You must give a percentage higher than 100/,
    );
    filled(0, 0, 0);
    expect(await run('osd reweight-by-utilization')).toBe(
      '33: Refusing to reweight: we only have 0 kb used across all osds!\n',
    );
    for (const [, stat] of stats.pgs.entries()) stat.acting = [];
    expect(await run('osd reweight-by-pg')).toBe('33: Refusing to reweight: we only have 0 PGs across 0 osds!\n');
  });
});

test('devices are what OSDs say that they are on', async () => {
  kept.answers['osd metadata'] = JSON.stringify([
    { id: 0, hostname: 'pi-1', device_ids: 'sda=USB_123', device_paths: 'sda=/dev/disk/by-path/usb-1' },
    { id: 1, hostname: 'pi-1', device_ids: 'sda=USB_123' },
    { id: 2, hostname: 'pi-2', device_ids: '' },
  ]);
  expect(await run('device ls')).toBe(
    'DEVICE   HOST:DEV  DAEMONS      WEAR  LIFE EXPECTANCY\nUSB_123  pi-1:sda  osd.0 osd.1                       \n',
  );
  expect(JSON.parse(await run('device info', { devid: 'USB_123', format: 'json' }))).toEqual({
    devid: 'USB_123',
    location: [{ host: 'pi-1', dev: 'sda', path: '/dev/disk/by-path/usb-1' }],
    daemons: ['osd.0', 'osd.1'],
  });
  expect(await run('device info', { devid: 'nosuch' })).toBe('2: device nosuch not found');
  expect(JSON.parse(await run('device ls-by-daemon', { who: 'osd.2', format: 'json' }))).toEqual([]);
  expect(await run('device ls-by-daemon', { who: 'osd.9' })).toBe('2: daemon osd.9 not found');
  expect(await run('device ls-by-host', { host: 'pi-1' })).toContain('USB_123  sda');
});

test('what a daemon goes by: what the mons say, and with that what nobody has set', async () => {
  kept.answers['config get'] = JSON.stringify({ osd_max_backfills: { value: '4', section: 'osd' } });
  expect(await run('config show', { who: 'osd.1' })).toBe(
    'NAME               VALUE  SOURCE  OVERRIDES  IGNORES\nosd_max_backfills  4      mon                       \n',
  );
  const all = JSON.parse(await run('config show-with-defaults', { who: 'osd.1', format: 'json' })) as {
    name: string;
    source: string;
  }[];
  expect(all.find(({ name }) => name === 'osd_max_backfills')).toEqual({
    name: 'osd_max_backfills',
    value: '4',
    source: 'mon',
  });
  expect(all.filter(({ source }) => source === 'default').length).toBeGreaterThan(20);
  kept.answers['config get'] = '4\n';
  expect(await run('config show', { who: 'osd.1', key: 'osd_max_backfills' })).toBe('4\n');
  kept.answers['config get'] = 'ENOENT';
  expect(await run('config show', { who: 'osd.1', key: 'nosuch' })).toBe('2: ');
  kept.answers['mon metadata'] = 'ENOENT';
  for (const who of ['osd.99', 'osd.x', 'mon.z', 'nobody'])
    expect(await run('config show', { who })).toBe(`2: no config state for daemon ${who}`);
});

describe('disks that are expected to fail', () => {
  const soon = '2026-12-01';

  beforeEach(() => {
    kept.answers['osd metadata'] = JSON.stringify([
      { id: 0, hostname: 'one', device_ids: 'sda=ACME_1', device_paths: 'sda=/dev/disk/by-path/x' },
      { id: 1, hostname: 'one', device_ids: 'sda=ACME_1,sdb=ACME_2' },
    ]);
  });

  test('are shown with that, for the next mgr too, and warned of', async () => {
    await run('device set-life-expectancy', { devid: 'ACME_1', from: soon, to: '2026-12-20 10:00' });
    expect(view.devices.checks()).toEqual([
      {
        ...{ code: 'DEVICE_HEALTH', severity: 'HEALTH_WARN', summary: '1 device(s) expected to fail soon', count: 1 },
        detail: [
          'ACME_1 (one:sda); daemons osd.0,osd.1; life expectancy between 2026-12-01T00:00:00.000000+0000 and 2026-12-20T10:00:00.000000+0000',
        ],
      },
    ]);
    view = newMgr();
    expect(await run('device ls')).toBe(
      'DEVICE  HOST:DEV  DAEMONS      WEAR  LIFE EXPECTANCY\n' +
        'ACME_1  one:sda   osd.0 osd.1        9d to 4w       \n' +
        'ACME_2  one:sdb   osd.1                             \n',
    );
    expect(await run('device info', { devid: 'ACME_1' })).toBe(
      'device ACME_1\nattachment one sda /dev/disk/by-path/x\ndaemons osd.0,osd.1\n' +
        'life_expectancy 2026-12-01T00:00:00.000000+0000 to 2026-12-20T10:00:00.000000+0000 (as of 2026-11-21T12:00:00.000000+0000)\n',
    );
    expect(JSON.parse(kept.keys.get('device/ACME_1')!)).toMatchObject({ life_expectancy_min: '1796083200.000000' });
  });

  test('are warned of no more when that is taken back, when nobody wants to know, or when it is long until then', async () => {
    await run('device set-life-expectancy', { devid: 'ACME_1', from: soon, to: soon });
    await run('device monitoring off');
    expect(view.devices.checks()).toEqual([]);
    await run('device monitoring on');
    expect(view.devices.checks()).toHaveLength(1);
    await run('device set-life-expectancy', { devid: 'ACME_1', from: soon, to: '2027-12-01' });
    expect(view.devices.checks()).toEqual([]);
    await run('device set-life-expectancy', { devid: 'ACME_1', from: soon, to: soon });
    await run('device rm-life-expectancy', { devid: 'ACME_1' });
    expect([view.devices.checks(), [...kept.keys]]).toEqual([[], []]);
  });

  test('what else is kept of a disk stays; a disk without daemons is shown while something is known of it', async () => {
    kept.keys.set('device/OLD', '{"wear_level":"0.5"}');
    kept.keys.set('device/BAD', 'no JSON');
    await run('device set-life-expectancy', { devid: 'OLD', from: soon });
    expect(await run('device ls')).toContain('\nOLD                                  >9d');
    await run('device rm-life-expectancy', { devid: 'OLD' });
    expect([...kept.keys]).toEqual(
      [
        ['device/BAD', 'no JSON'],
        ['device/OLD', '{"wear_level":"0.5"}'],
      ].sort((a, b) => (a[0]! < b[0]! ? 1 : -1)),
    );
  });

  test('a time that is none, and what disks measure, are refused', async () => {
    expect(await run('device set-life-expectancy', { devid: 'ACME_1', from: 'soon' })).toBe(
      "22: unable to parse datetime 'soon'",
    );
    expect(await run('device scrape-health-metrics')).toMatch(/^95: .*SMART/);
    expect(await run('device ls-lights')).toBe('{\n    "fault": [],\n    "ident": []\n}\n');
  });
});

describe('the orchestrator', () => {
  beforeEach(() => {
    kept.answers.quorum_status = JSON.stringify({ quorum_names: ['a'] });
    kept.answers['mon metadata'] = JSON.stringify([
      {
        name: 'a',
        hostname: 'one',
        addrs: '[v2:10.0.0.1:3300/0,v1:10.0.0.1:6789/0]',
        ceph_version: 'ceph version 16.2.15 (x)',
      },
      { name: 'b', hostname: 'two', addrs: '[v2:10.0.0.2:3300/0]' },
    ]);
    kept.answers['mgr dump'] = JSON.stringify({ active_name: 'a', standbys: [] });
    kept.answers['mgr metadata'] = JSON.stringify([{ name: 'a', hostname: 'one', addr: '10.0.0.1' }]);
    kept.answers['osd metadata'] = JSON.stringify([
      {
        ...{ id: 0, hostname: 'one', front_addr: '[v2:10.0.0.1:6800/7]', rotational: '0', bluestore_bdev_size: '4096' },
        ...{ devices: 'sda,sdb', device_ids: 'sda=ACME_1,sdb=ACME_2' },
      },
    ]);
  });

  test('daemons are those of the cluster, with what the mons know of them', async () => {
    const lines = (await run('orch ps')).split('\n').map((line) => line.trim().replace(/ +/g, ' '));
    expect(lines).toEqual([
      'NAME HOST PORTS STATUS REFRESHED AGE MEM USE MEM LIM VERSION IMAGE ID',
      'mgr.a one running - - - - 16.2.15 <unknown>',
      'mon.a one running - - - - 16.2.15 <unknown>',
      'mon.b two stopped - - - - 16.2.15 <unknown>',
      'osd.0 one running - - - - 16.2.15 <unknown>',
      '',
    ]);
    expect(JSON.parse(await run('orch ps', { daemon_type: 'osd', format: 'json' }))).toEqual([
      {
        ...{ daemon_id: '0', daemon_name: 'osd.0', daemon_type: 'osd', hostname: 'one' },
        ...{ status: 1, status_desc: 'running', version: '16.2.15' },
      },
    ]);
    expect(await run('orch ps', { daemon_type: 'mds' })).toBe('No daemons reported\n');
  });

  test('services, hosts and disks', async () => {
    expect(await run('orch ls', { format: 'json' })).toBe(
      '[{"service_name": "mgr", "service_type": "mgr", "status": {"running": 1, "size": 1}, "unmanaged": true}, {"service_name": "mon", "service_type": "mon", "status": {"running": 1, "size": 2}, "unmanaged": true}, {"service_name": "osd", "service_type": "osd", "status": {"running": 1, "size": 1}, "unmanaged": true}]\n',
    );
    expect((await run('orch ls')).split('\n')[2]).toBe('mon              1/2  -          -    <unmanaged>  ');
    expect(await run('orch host ls')).toBe(
      'HOST  ADDR      LABELS  STATUS  \none   10.0.0.1                  \ntwo   10.0.0.2                  \n2 hosts in cluster\n',
    );
    const disks = (await run('orch device ls')).split('\n').map((line) => line.trim().replace(/ +/g, ' '));
    expect(disks).toEqual([
      'HOST PATH TYPE DEVICE ID SIZE AVAILABLE REFRESHED REJECT REASONS',
      'one /dev/sda ssd ACME_1 4096 - in use by osd.0',
      'one /dev/sdb ssd ACME_2 4096 - in use by osd.0',
      '',
    ]);
    expect(JSON.parse(await run('orch device ls', { hostname: ['two'], format: 'json' }))).toEqual([]);
  });

  test('it is there, by whichever of its commands the tool takes, and deploys nothing', async () => {
    expect(await run('orch status')).toBe('Backend: appliance\nAvailable: Yes\n');
    expect(await run('orch', { args: ['status'] })).toBe('Backend: appliance\nAvailable: Yes\n');
    expect(await run('orch', { args: ['apply', 'mds', 'x'] })).toMatch(/^95: 'orch apply mds x' is not supported/);
  });
});

describe('what looks after the cluster from outside', () => {
  test('iostat: a header when asked for, rates of the last seconds', async () => {
    expect(await run('iostat', { width: 60, print_header: true })).toBe(
      [
        '+---------+---------+---------+---------+---------+---------+',
        '|    Read |   Write |   Total |Read IOPS |Write IOPS |Total IOPS |',
        '+---------+---------+---------+---------+---------+---------+',
        '|   0 B/s |   0 B/s |   0 B/s |       0 |       0 |       0 |',
        '',
      ].join('\n'),
    );
    stats.sample(1000);
    stats.rates.add({ ...stats.rates.total, writeBytes: 22_000 * 1024, writeOps: 44, readBytes: 8 * 1024, readOps: 3 });
    stats.sample(3900);
    expect(await run('iostat', { width: 60 })).toBe('|4096 B/s |10 MiB/s |10 MiB/s |       1 |      22 |      23 |\n');
  });

  test('health checks stay in the history, for the next mgr too', async () => {
    expect(await run('healthcheck history ls')).toBe('No healthchecks have been recorded\n');
    await view.history.see(new Map([['OSD_DOWN', 'HEALTH_WARN']]), Date.parse('2026-11-29T21:05:32Z'));
    await view.history.see(new Map(), Date.parse('2026-11-29T21:06:00Z'));
    view = newMgr();
    await view.history.see(new Map([['OSD_DOWN', 'HEALTH_WARN']]), Date.parse('2026-11-29T21:09:02Z'));
    expect(await run('healthcheck history ls')).toBe(
      'Healthcheck Name          First Seen (UTC)      Last seen (UTC)       Count  Active\n' +
        'OSD_DOWN                  2026/11/29 21:05:32   2026/11/29 21:09:02       2   Yes  \n' +
        '1 health check(s) listed\n',
    );
    expect(await run('healthcheck history ls', { format: 'json' })).toBe(
      '{"OSD_DOWN": {"name": "OSD_DOWN", "severity": "HEALTH_WARN", "first_seen": 1795986332, "last_seen": 1795986542, "count": 2, "active": true}}\n',
    );
    expect(await run('healthcheck history clear')).toBe('healthcheck history cleared\n');
    view = newMgr();
    expect([...(await view.history.all())]).toEqual([]);
  });

  test('targets for Prometheus are all mgrs', async () => {
    kept.answers['mgr metadata'] = JSON.stringify([
      { name: 'a', addr: '10.0.0.1' },
      { name: 'b', addr: '10.0.0.2' },
    ]);
    expect(await run('prometheus file_sd_config')).toBe(
      '[{"targets": ["10.0.0.1:9283", "10.0.0.2:9283"], "labels": {}}]\n',
    );
  });

  test('telemetry is off, whatever is configured, and is not switched on', async () => {
    kept.config = new Map([['mgr/telemetry/enabled', 'true']]);
    expect(JSON.parse(await run('telemetry status'))).toMatchObject({ enabled: false, last_upload: null });
    expect(await run('telemetry on', { license: 'sharing-1-0' })).toMatch(/^95: .*sends nothing to anybody/);
    expect(await run('telemetry send')).toMatch(/^95: /);
    expect(await run('telemetry show')).toBe('{}\n');
  });
});

test('progress is switched off, for the next mgr too; nothing is deployed, and there is no file system', async () => {
  expect(await run('progress on')).toBe('progress already enabled!');
  expect(await run('progress off')).toBe('progress disabled');
  view = newMgr();
  expect(await run('progress off')).toBe('progress already disabled!');
  expect(await run('progress on')).toBe('progress enabled');
  expect(await run('orch', { args: ['set', 'backend', 'x'] })).toMatch(/^95: /);
  expect(await run('fs status', { fs: 'x' })).toBe('Invalid filesystem: x');
});
