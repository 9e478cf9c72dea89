import * as fs from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { utf8Text } from '../../../base/bytes.ts';
import type { MonClient } from '../../client/api.ts';
import { decodeCrushMap } from '../../crush/codec.ts';
import { type CrushMap, DEFAULT_CHOOSE_ARGS } from '../../crush/map.ts';
import { decodeOsdMap } from '../../maps/osdmap-codec.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { Harness } from '../role.testing.ts';

let mon: Harness;
let admin: MonClient;

beforeEach(async () => {
  mon = new Harness({ ip: '127.0.2.1' });
  await mon.start();
  admin = await mon.client('client.admin');
  for (const osd of [0, 1, 2]) {
    await say('osd new', { uuid: `00000000-0000-4000-8000-00000000000${osd}`, id: String(osd) });
    await say('osd crush add', { id: String(osd), weight: 1 + osd, args: [`host=h${osd}`, 'root=default'] });
  }
  await say('osd pool create', { pool: 'p', pg_num: 4, size: 2 });
});
afterEach(async () => {
  await mon.stop();
  fs.rmSync(mon.data, { recursive: true, force: true });
});

async function ask(prefix: string, args: Record<string, unknown> = {}): Promise<{ code: number; text: string }> {
  const { code, output, status } = await admin.command({ prefix, ...args });
  return { code, text: status || utf8Text(output) };
}
async function say(prefix: string, args: Record<string, unknown> = {}): Promise<string> {
  const { code, text } = await ask(prefix, args);
  expect(code, `${prefix}: ${text}`).toBe(0);
  return text;
}
const crush = async (): Promise<CrushMap> =>
  decodeCrushMap((await admin.command({ prefix: 'osd getcrushmap' })).output);
const osdmap = async (): Promise<OsdMap> => decodeOsdMap((await admin.command({ prefix: 'osd getmap' })).output);

describe('placing by hand', () => {
  test('device classes are made, renamed with their shadow trees, and removed with their devices', async () => {
    expect(await say('osd crush class create', { class: 'nvme' })).toBe('created class nvme with id 0 to crush map');
    expect(await say('osd crush class create', { class: 'nvme' })).toBe("class 'nvme' already exists");
    await say('osd crush set-device-class', { class: 'nvme', ids: ['0', '1'] });
    expect(await say('osd crush class rename', { srcname: 'nvme', dstname: 'fast' })).toBe(
      "rename class 'nvme' to 'fast'",
    );
    expect(await say('osd crush class rename', { srcname: 'nvme', dstname: 'fast' })).toBe("already renamed to 'fast'");
    expect(await ask('osd crush class rename', { srcname: 'none', dstname: 'other' })).toEqual({
      code: -2,
      text: "fail to rename 'none' to 'other' : (2) No such file or directory",
    });
    expect((await crush()).idOfName('default~fast')).toBeLessThan(0);
    await say('osd crush rule create-replicated', { name: 'r', root: 'default', type: 'osd', class: 'fast' });
    expect(await ask('osd crush class rm', { class: 'fast' })).toEqual({
      code: -16,
      text: "class 'fast' still referenced by crush_rule 'r'",
    });
    await say('osd crush rule rm', { name: 'r' });
    expect(await say('osd crush class rm', { class: 'fast' })).toMatch(
      /^removed class fast with id \d from crush map$/,
    );
    const map = await crush();
    expect([map.classNames.size, map.classOf.size, map.idOfName('default~fast')]).toEqual([0, 0, undefined]);
  });

  test('a weight-set changes what holds the item up to the root, and goes with its pool', async () => {
    await say('osd crush weight-set create', { pool: 'p', mode: 'positional' });
    expect(await say('osd crush weight-set create', { pool: 'p', mode: 'flat' })).toBe(
      "weight-set for pool 'p' already created",
    );
    expect(await ask('osd crush weight-set reweight', { pool: 'p', item: 'osd.1', weight: [0.5] })).toEqual({
      code: -22,
      text: 'must specify exact 2 weight values',
    });
    await say('osd crush weight-set reweight', { pool: 'p', item: 'osd.1', weight: [0.5, 4] });
    const map = await crush();
    const pool = (await osdmap()).poolId('p')!;
    const of = (name: string): number[][] => map.chooseArgs.get(pool)![-1 - map.idOfName(name)!]!.weightSets;
    expect(of('h1')).toEqual([[0x8000], [0x40000]]);
    expect(of('default')).toEqual([
      [0x10000, 0x8000, 0x30000],
      [0x10000, 0x40000, 0x30000],
    ]);
    expect(await ask('osd crush weight-set reweight-compat', { item: 'osd.1', weight: [1] })).toEqual({
      code: -2,
      text: 'no backward-compatible weight-set',
    });
    await say('osd crush weight-set create-compat');
    await say('osd crush weight-set reweight-compat', { item: 'osd.2', weight: [1] });
    expect((await crush()).chooseArgs.has(DEFAULT_CHOOSE_ARGS)).toBe(true);
    await say('config set', { who: 'mon', name: 'mon_allow_pool_delete', value: 'true' });
    await say('osd pool rm', { pool: 'p', pool2: 'p', yes_i_really_really_mean_it: true });
    expect([...(await crush()).chooseArgs.keys()]).toEqual([DEFAULT_CHOOSE_ARGS]);
  });

  test('settings of the algorithm', async () => {
    expect(await say('osd crush get-tunable', { tunable: 'straw_calc_version' })).toBe('1\n');
    expect(await say('osd crush set-tunable', { tunable: 'straw_calc_version', value: 0 })).toBe(
      'adjusted tunable straw_calc_version to 0',
    );
    expect(await say('osd crush get-tunable', { tunable: 'straw_calc_version' })).toBe('0\n');
    expect((await ask('osd crush set-tunable', { tunable: 'straw_calc_version', value: 2 })).code).toBe(-22);
    await say('osd crush set-all-straw-buckets-to-straw2');
  });

  test('placement groups and weights', async () => {
    const pg = `${(await osdmap()).poolId('p')}.1`;
    expect(await say('osd pg-upmap', { pgid: pg, id: ['1', '2'] })).toBe(`set ${pg} pg_upmap mapping to [1,2]`);
    expect(await ask('osd pg-upmap', { pgid: pg, id: ['0', '1', '2'] })).toEqual({
      code: -22,
      text: 'num of osds (3) > pool size (2)',
    });
    expect((await osdmap()).pgUpmap.get(Number(pg.split('.')[0]), 1)).toEqual([1, 2]);
    expect(await say('osd rm-pg-upmap', { pgid: pg })).toBe(`clear ${pg} pg_upmap mapping`);
    expect((await osdmap()).pgUpmap.get(Number(pg.split('.')[0]), 1)).toBeUndefined();
    expect(await say('osd primary-temp', { pgid: pg, id: '2' })).toBe(`set ${pg} primary_temp mapping to 2`);
    expect((await osdmap()).primaryTemp.get(Number(pg.split('.')[0]), 1)).toBe(2);
    await say('osd reweightn', { weights: "{'0': '32768', '2': '0'}" });
    const { osdWeight } = await osdmap();
    expect([osdWeight[0], osdWeight[2]]).toEqual([32768, 0]);
    expect((await ask('osd reweightn', { weights: '{"7": "1"}' })).code).toBe(-2);
    expect((await ask('osd reweightn', { weights: 'x' })).code).toBe(-22);
  });
});
