import { expect, test } from 'vitest';
import { newCrushMap } from '../../crush/default-map.ts';
import { createOrMoveItem } from '../../crush/build.ts';
import { decodeCrushMap } from '../../crush/codec.ts';
import { OsdMapIncremental } from '../../maps/incremental.ts';
import { OsdMap } from '../../maps/osdmap.ts';
import { newPool, POOL_EC_OVERWRITES, POOL_TYPE_ERASURE } from '../../maps/pool.ts';
import { setSetting, type SettingContext } from '../commands/pool-settings.ts';
import { createErasureRule, parseProfile, removeProfile, setProfile, shapeOf } from './erasure-profiles.ts';

const defaults = 'plugin=jerasure technique=reed_sol_van k=2 m=2';

function mapWith(name: string, words: string[]): OsdMap {
  const map = new OsdMap();
  map.crush = newCrushMap('osd');
  for (let osd = 0; osd < 3; osd++)
    createOrMoveItem(map.crush, osd, 65536, `osd.${osd}`, { root: 'default', host: 'a' });
  const inc = new OsdMapIncremental();
  expect(setProfile(inc, map, name, parseProfile(words, defaults), false)).toBe(true);
  map.erasureCodeProfiles = inc.newErasureCodeProfiles;
  return map;
}

test('a profile is kept with what its plugin fills in, over the defaults of the configuration', () => {
  const map = mapWith('ec21', ['k=2', 'm=1', 'crush-failure-domain=osd']);
  expect([...map.erasureCodeProfiles.get('ec21')!].map((pair) => pair.join('=')).join('\n')).toBe(
    'crush-device-class=\ncrush-failure-domain=osd\ncrush-root=default\njerasure-per-chunk-alignment=false\nk=2\nm=1\nplugin=jerasure\ntechnique=reed_sol_van\nw=8',
  );
  expect(shapeOf(map, 'ec21')).toEqual({ size: 3, minSize: 2, stripeWidth: 8192 });
  expect(parseProfile(['plugin=isa', 'k=4'], defaults)).toEqual(
    new Map([
      ['plugin', 'isa'],
      ['k', '4'],
    ]),
  );
  expect(() => parseProfile(['ruleset-root=x'], defaults)).toThrow("try 'crush-root'");
});

test('a profile is not overridden without force, and never under data', () => {
  const map = mapWith('p', ['k=2', 'm=1']);
  const change = (words: string[], force: boolean): boolean =>
    setProfile(new OsdMapIncremental(), map, 'p', parseProfile(words, defaults), force);
  expect(change(['k=2', 'm=1'], false)).toBe(false);
  expect(() => change(['k=3', 'm=1'], false)).toThrow(
    /^will not override erasure code profile p because the existing profile \{.*k=2,m=1.*\} is different from the proposed profile \{.*k=3,m=1/,
  );
  expect(change(['k=3', 'm=1'], true)).toBe(true);
  map.pools = new Map([[1, newPool({ type: POOL_TYPE_ERASURE, erasureCodeProfile: 'p' })]]);
  map.poolNames = new Map([[1, 'ecpool']]);
  expect(() => change(['k=3', 'm=1'], true)).toThrow('ecpool pool(s) have data');
  expect(change(['k=2', 'm=1', 'crush-failure-domain=rack'], true)).toBe(true);
  expect(() => change(['crush-failure-domain=planet'], true)).toThrow('contains an invalid failure-domain "planet"');
  expect(() => removeProfile(new OsdMapIncremental(), map, 'p')).toThrow(
    "ecpool pool(s) are using the erasure code profile 'p'",
  );
  expect(() => shapeOf(map, 'nosuch')).toThrow(
    "cannot determine the erasure code plugin because there is no 'plugin' entry in the erasure_code_profile {}",
  );
});

test('the rule of a profile is that of 16.2.15', () => {
  const map = mapWith('ec21', ['k=2', 'm=1', 'crush-failure-domain=osd']);
  const inc = new OsdMapIncremental();
  const id = createErasureRule(inc, map, 'ecpool', 'ec21');
  const rule = decodeCrushMap(inc.crush!).rules[id]!;
  expect({ type: rule.type, minSize: rule.minSize, maxSize: rule.maxSize }).toEqual({
    type: 3,
    minSize: 3,
    maxSize: 3,
  });
  // set_chooseleaf_tries 5, set_choose_tries 100, take default, choose_indep 0 osd, emit
  expect(rule.steps.map(({ op, arg1, arg2 }) => [op, arg1, arg2])).toEqual([
    [9, 5, 0],
    [8, 100, 0],
    [1, -1, 0],
    [3, 0, 0],
    [4, 0, 0],
  ]);
});

test('settings of erasure-coded pools: overwrites only on, min_size not under k', () => {
  const map = mapWith('p', ['k=2', 'm=1']);
  const context = { map, id: 1, name: 'p' } as SettingContext;
  const pool = newPool({ type: POOL_TYPE_ERASURE, size: 3, minSize: 2, erasureCodeProfile: 'p' });
  expect(setSetting(pool, 'allow_ec_overwrites', 'true', context).flags & POOL_EC_OVERWRITES).not.toBe(0);
  expect(() => setSetting(pool, 'allow_ec_overwrites', 'false', context)).toThrow('cannot be disabled once enabled');
  expect(() => setSetting(newPool({}), 'allow_ec_overwrites', 'true', context)).toThrow(
    'ec overwrites can only be enabled for an erasure coded pool',
  );
  expect(setSetting(pool, 'min_size', '3', context).minSize).toBe(3);
  expect(() => setSetting(pool, 'min_size', '1', context)).toThrow(
    'pool min_size must be between 2 and size, which is set to 3',
  );
});
