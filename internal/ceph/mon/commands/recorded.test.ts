import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../base/log.ts';
import { seededRandom } from '../../../base/random.ts';
import type { Store } from '../../../store/api.ts';
import { haveRecorded } from '../../crush/recorded.testing.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import type { OutputFormat } from '../format/json.ts';
import { Mon } from '../mon.ts';
import { answerOf, findRun, loadedOf, recordedMaps, type Run, runsOf, soleGroup } from '../recorded.testing.ts';
import { emptyState, type MonState } from '../state.ts';
import { monCommands } from './all.ts';
import type { Caller } from './dispatch.ts';
import { readArguments } from './signature.ts';

const table = monCommands();

function monWith(state: Partial<MonState>): Mon {
  return new Mon({
    name: 'a',
    // Only read-only commands are run.
    store: {} as Store,
    group: soleGroup,
    addrs: [],
    peerPort: 0,
    clock: { now: () => 0, monotonic: () => 0, after: () => ({ cancel: () => undefined }) },
    random: seededRandom(1),
    log: silentLogger,
    loaded: loadedOf({ ...emptyState(), ...state }),
    metadata: new Map(),
  });
}

async function answer(mon: Mon, prefix: string, given: Record<string, unknown>, format: OutputFormat): Promise<string> {
  const [command] = table.find(prefix);
  const context = { mon, caller: {} as Caller, input: new Uint8Array() };
  const result = await command!.handler!(context, readArguments(command!.signature, given), format);
  return typeof result.output === 'string' ? result.output : '';
}

/** Commands whose answer depends on the OSDMap alone. */
const fromMap: readonly (readonly [command: string, prefix: string, given: Record<string, unknown>])[] = [
  ['osd tree', 'osd tree', {}],
  ['osd tree up', 'osd tree', { states: ['up'] }],
  ['osd tree down', 'osd tree', { states: ['down'] }],
  ['osd tree out', 'osd tree', { states: ['out'] }],
  ['osd tree in', 'osd tree', { states: ['in'] }],
  ['osd tree destroyed', 'osd tree', { states: ['destroyed'] }],
  ['osd dump', 'osd dump', {}],
  ['osd pool ls', 'osd pool ls', {}],
  ['osd pool ls detail', 'osd pool ls', { detail: 'detail' }],
  ['osd lspools', 'osd lspools', {}],
  ['osd ls', 'osd ls', {}],
  ['osd ls-tree osd.1', 'osd ls-tree', { name: 'osd.1' }],
  ['osd getmaxosd', 'osd getmaxosd', {}],
  ['osd info 0', 'osd info', { id: '0' }],
  ['osd utilization', 'osd utilization', {}],
  ['osd blocklist ls', 'osd blocklist ls', {}],
  ['osd crush tree', 'osd crush tree', {}],
  ['osd crush tree --show-shadow', 'osd crush tree', { shadow: '--show-shadow' }],
  ['osd crush dump', 'osd crush dump', {}],
  ['osd crush rule ls', 'osd crush rule ls', {}],
  ['osd crush rule dump', 'osd crush rule dump', {}],
  ['osd crush rule dump replicated_rule', 'osd crush rule dump', { name: 'replicated_rule' }],
  ['osd crush class ls', 'osd crush class ls', {}],
  ['osd crush show-tunables', 'osd crush show-tunables', {}],
  ['osd crush get-device-class 0', 'osd crush get-device-class', { ids: ['0'] }],
  ['osd erasure-code-profile ls', 'osd erasure-code-profile ls', {}],
  ['osd erasure-code-profile get default', 'osd erasure-code-profile get', { name: 'default' }],
  ['osd pool get rep3 all', 'osd pool get', { pool: 'rep3', var: 'all' }],
  ['osd pool get ecpool all', 'osd pool get', { pool: 'ecpool', var: 'all' }],
  ['osd pool get ecpool size', 'osd pool get', { pool: 'ecpool', var: 'size' }],
  ['osd pool application get', 'osd pool application get', {}],
  ['osd map rep3 hello', 'osd map', { pool: 'rep3', object: 'hello' }],
  ['osd map ecpool ecobj', 'osd map', { pool: 'ecpool', object: 'ecobj' }],
  ['osd map rep3 nsobj ns1', 'osd map', { pool: 'rep3', object: 'nsobj', nspace: 'ns1' }],
  ['pg map 1.0', 'pg map', { pgid: '1.0' }],
  ['fs ls', 'fs ls', {}],
  ['osd get-require-min-compat-client', 'osd get-require-min-compat-client', {}],
];

/** The map at the time of a run: the epoch that the answer names, or that of the whole recording. */
function mapOf(maps: ReadonlyMap<number, OsdMap>, run: Run, fallback: number): OsdMap | undefined {
  const named =
    /"epoch":(\d+)/.exec(run.stdout)?.[1] ??
    /osdmap e(\d+) /.exec(run.stdout)?.[1] ??
    /^epoch (\d+)/.exec(run.stdout)?.[1];
  return maps.get(named === undefined ? fallback : Number(named));
}

describe.skipIf(!haveRecorded)('commands answer as 16.2.15 did', () => {
  const maps = haveRecorded ? recordedMaps() : new Map<number, OsdMap>();
  for (const file of [
    'a-fresh',
    'b-pools-data',
    'c-osd-down',
    'd-osd-out-recovering',
    'e-flags-quota-mute',
    'f-scrub-error',
  ]) {
    const runs = haveRecorded ? runsOf(file) : [];
    const stat = findRun(runs, 'osd stat', 'json');
    const epoch = stat === undefined ? 0 : (JSON.parse(answerOf(stat)) as { epoch: number }).epoch;
    for (const [command, prefix, given] of fromMap)
      for (const format of ['plain', 'json'] as const) {
        const run = findRun(runs, command, format);
        const map = run === undefined ? undefined : mapOf(maps, run, epoch);
        if (run === undefined || map === undefined) continue;
        if (command === 'fs ls' && file !== 'a-fresh') continue;
        test(`${file}: ${command} (${format})`, async () => {
          const mon = monWith({ fsid: map.fsid, osdmap: map });
          const sorted = (text: string): string =>
            // The order of the blocklist is that of a hash table.
            command === 'osd dump' || command === 'osd blocklist ls' ? normal(text) : text;
          expect(sorted(await answer(mon, prefix, given, format))).toBe(sorted(answerOf(run)));
        });
      }
  }
});

function normal(text: string): string {
  if (!text.startsWith('{') && !text.startsWith('[')) return text.split('\n').sort().join('\n');
  return text
    .replace(/("(?:blocklist|range_blocklist)":)\{[^}]*\}/g, '$1{}')
    .replace(/^\[.*\]\[\]$/, (list) => [...list].sort().join(''));
}
