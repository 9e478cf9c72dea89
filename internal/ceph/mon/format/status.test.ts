import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../base/log.ts';
import { seededRandom } from '../../../base/random.ts';
import type { Store } from '../../../store/api.ts';
import { newMonMap } from '../../maps/monmap.ts';
import type { Service, ServiceDaemon } from '../../maps/servicemap.ts';
import { makeReport } from '../../mgr/digest.ts';
import { defaultHealthOptions } from '../../mgr/health.ts';
import { haveRecorded, RecordedPhase } from '../../mgr/recorded-stats.testing.ts';
import { utimeZero } from '../../wire/encoding.ts';
import { blankAddr } from '../../wire/types.ts';
import { healthOf } from '../health.ts';
import { Mon } from '../mon.ts';
import { loadedOf, soleGroup } from '../recorded.testing.ts';
import { emptyState } from '../state.ts';
import { dfJson, dfText } from './df.ts';
import { healthText } from './health.ts';
import { jsonText } from './json.ts';
import { serviceSummary, statusJson, statusText } from './status.ts';

/** A mon that knows what the recorded one knew. */
function monOf(phase: RecordedPhase): Mon {
  const { map, stampMs } = phase.stats;
  const mon = new Mon({
    name: 'a',
    store: {} as Store,
    group: soleGroup,
    addrs: [],
    peerPort: 0,
    clock: { now: () => stampMs, monotonic: () => 0, after: () => ({ cancel: () => undefined }) },
    random: seededRandom(1),
    log: silentLogger,
    metadata: new Map(),
    upstreamOptions: () => [],
    loaded: loadedOf({
      ...emptyState(),
      fsid: map.fsid,
      osdmap: map,
      monmap: newMonMap({
        fsid: map.fsid,
        created: utimeZero,
        mons: [{ name: 'a', addrs: [], priority: 0, weight: 0, crushLocation: new Map() }],
      }),
      mgrmap: { ...emptyState().mgrmap, activeGid: 1n, activeName: 'a', available: true, activeChange: map.created },
    }),
  });
  mon.digest = makeReport(phase.stats, { fsid: map.fsid, gid: 1n }, stampMs, defaultHealthOptions, {
    progress: [],
    serviceMap: new Uint8Array(),
  });
  return mon;
}

function inputOf(mon: Mon) {
  return {
    state: mon.state,
    digest: mon.digest,
    health: healthOf(mon),
    placement: mon.placement,
    nowMs: mon.clock.now(),
    quorum: { ranks: [0], names: ['a'], sinceMs: 0 },
    electionEpoch: 3,
  };
}

/** Without ages, and without what our cluster does not have: file systems, mutes, rates that were not recorded. */
function comparable(text: string): string[] {
  const lines = text.replace(/(since|age) \w+/g, '$1').split('\n');
  const io = lines.findIndex((line) => /^ {2}(io|progress):$/.test(line));
  const kept = io < 0 ? lines : lines.slice(0, io);
  return kept.filter((line) => line.trim() !== '' && !/muted: |mds: |volumes: |misplaced|non-power-of-two/.test(line));
}

describe.skipIf(!haveRecorded)('status, df and health are laid out as by 16.2.15', () => {
  for (const name of haveRecorded
    ? ['a-fresh', 'c-osd-down', 'd-osd-out-recovering', 'e-flags-quota-mute', 'f-scrub-error']
    : []) {
    const phase = new RecordedPhase(name);
    const mon = monOf(phase);

    test(`${name}: status`, () => {
      expect(comparable(statusText(inputOf(mon)))).toEqual(comparable(phase.output('-s', 'plain')));
      const ours = JSON.parse(jsonText(statusJson(inputOf(mon)))) as Record<string, object>;
      const theirs = JSON.parse(phase.output('-s', 'json')) as Record<string, object>;
      expect(Object.keys(ours)).toEqual(Object.keys(theirs));
      for (const part of ['osdmap', 'monmap', 'mgrmap'])
        expect(Object.keys(ours[part]!)).toEqual(Object.keys(theirs[part]!));
      expect(Object.keys(theirs.pgmap!)).toEqual(expect.arrayContaining(Object.keys(ours.pgmap!)));
    });

    test(`${name}: df`, () => {
      for (const detail of [false, true]) {
        const command = detail ? 'df detail' : 'df';
        const { map } = phase.stats;
        // Numbers move between two runs of a cluster that recovers.
        if (name !== 'd-osd-out-recovering')
          expect(dfText(map, mon.digest, detail)).toBe(phase.output(command, 'plain'));
        const shape = (text: string): string => text.replace(/(?<=[:[,])-?\d[\d.e-]*(?=[,}\]])/g, 'n');
        expect(shape(jsonText(dfJson(map, mon.digest, detail)))).toBe(shape(phase.output(command, 'json').trimEnd()));
      }
    });

    test(`${name}: health detail`, () => {
      const checks = (text: string): string[] =>
        text
          .split('\n')
          .slice(1)
          .filter((line) => !/MUTED|non-power|not a power/.test(line));
      expect(checks(healthText(healthOf(mon), true, mon.clock.now()))).toEqual(
        checks(phase.output('health detail', 'plain')),
      );
    });
  }
});

describe('services', () => {
  const service = (...metadata: Record<string, string>[]): Service => ({
    summary: '',
    daemons: new Map(
      metadata.map((fields, i): [string, ServiceDaemon] => [
        `d${i}`,
        {
          gid: BigInt(i),
          addr: blankAddr,
          startEpoch: 1,
          startStamp: utimeZero,
          metadata: new Map(Object.entries(fields)),
          taskStatus: new Map(),
        },
      ]),
    ),
  });

  test('daemons are counted by their own kind, with their hosts and zones', () => {
    expect(serviceSummary(service())).toBe('no daemons active');
    expect(serviceSummary(service({}))).toBe('1 daemon active');
    const gateways = [
      { hostname: 'a', zone_id: 'x', daemon_type: 'gateway' },
      { hostname: 'b', zone_id: 'x' },
    ];
    expect(serviceSummary(service(...gateways))).toBe('2 gateways active (2 hosts, 1 zones)');
    expect(serviceSummary({ ...service({}), summary: 'as it says' })).toBe('as it says');
  });
});
