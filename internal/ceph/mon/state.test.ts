import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { currentSecret } from '../auth/mon-auth.ts';
import { newCryptoKey } from '../auth/crypto.ts';
import type { RotatingSecret } from '../auth/api.ts';
import { rotated } from './auth-state.ts';
import { emptyConfig, effectiveConfig, parseWho } from './config-state.ts';
import { options, parseOption } from './options.ts';
import { describeSignature, parseSignature, readArguments } from './commands/signature.ts';

describe('configuration', () => {
  test('the narrower section wins: global, type, mask, daemon', () => {
    const values = new Map([
      ['osd.1', new Map([['a', 'daemon']])],
      [
        'global',
        new Map([
          ['a', 'global'],
          ['b', 'global'],
          ['c', 'global'],
          ['d', 'global'],
        ]),
      ],
      ['osd/class:ssd', new Map([['b', 'class']])],
      ['osd/host:n1', new Map([['c', 'host']])],
      [
        'osd',
        new Map([
          ['a', 'type'],
          ['b', 'type'],
          ['c', 'type'],
        ]),
      ],
      ['mon', new Map([['d', 'mon']])],
    ]);
    const of = (target: Parameters<typeof effectiveConfig>[1]) =>
      Object.fromEntries([...effectiveConfig({ ...emptyConfig, values }, target)].map(([k, { value }]) => [k, value]));
    expect(of({ entity: 'osd.1', deviceClass: 'ssd', host: 'n1' })).toEqual({
      a: 'daemon',
      b: 'class',
      c: 'host',
      d: 'global',
    });
    expect(of({ entity: 'osd.10', deviceClass: 'hdd', host: 'n2' })).toEqual({
      a: 'type',
      b: 'type',
      c: 'type',
      d: 'global',
    });
    expect(of({ entity: 'mon.a' })).toEqual({ a: 'global', b: 'global', c: 'global', d: 'mon' });
  });

  test('who: entities with masks, nothing else', () => {
    for (const who of ['global', 'osd', 'osd.1', 'client.rgw.a', 'osd/class:hdd', 'osd/host:x', 'host:x'])
      expect(parseWho(who)).toBeDefined();
    for (const who of ['', 'nosuch', 'osd/x', 'global.a', 'mon.']) expect(parseWho(who)).toBeUndefined();
  });

  test('values are checked and written as upstream writes them', () => {
    const option = (name: string) => options.get(name)!;
    expect(parseOption(option('osd_memory_target'), '4G')).toBe('4294967296');
    expect(parseOption(option('mon_allow_pool_delete'), 'Yes')).toBe('true');
    expect(parseOption(option('debug_osd'), '5')).toBe('5/5');
    expect(parseOption(option('osd_recovery_sleep'), '0.5')).toBe('0.500000');
    expect(() => parseOption(option('osd_max_backfills'), 'abc')).toThrow('error parsing value');
  });
});

describe('rotating secrets', () => {
  test('three are kept, the second is used, daemons know the next before it is', () => {
    const random = seededRandom(1);
    const hour = 3_600_000;
    const at = (secrets: readonly RotatingSecret[], now: number) =>
      rotated(secrets, now, hour, () => newCryptoKey(now, random));
    let secrets: readonly RotatingSecret[] = at([], 0)!;
    expect(secrets.map(({ id, expiresMs }) => [id, expiresMs])).toEqual([
      [1, 0],
      [2, hour],
      [3, 2 * hour],
    ]);
    expect(at(secrets, hour - 1)).toBeUndefined();
    expect(currentSecret(secrets, hour - 1)!.id).toBe(2);
    secrets = at(secrets, hour)!;
    expect(secrets.map(({ id }) => id)).toEqual([2, 3, 4]);
    expect(currentSecret(secrets, hour)!.id).toBe(3);
    // After a long sleep there is a usable one again, and ids go on.
    secrets = at(secrets, 100 * hour)!;
    expect(currentSecret(secrets, 100 * hour)!.expiresMs).toBeGreaterThan(100 * hour);
    expect(secrets[0]!.id).toBeGreaterThan(2);
  });
});

describe('signatures', () => {
  const signature = parseSignature(
    'osd x name=id,type=CephOsdName name=n,type=CephInt,range=0|9,req=false name=list,type=CephString,n=N,req=false name=sure,type=CephBool,req=false',
  );

  test('are described as the tool reads them', () => {
    expect(describeSignature(signature)).toEqual([
      'osd',
      'x',
      { name: 'id', type: 'CephOsdName' },
      { name: 'n', type: 'CephInt', range: '0|9', req: false },
      { name: 'list', type: 'CephString', n: 'N', req: false },
      { name: 'sure', type: 'CephBool', req: false },
    ]);
  });

  test('arguments are taken in any form that clients send, and bad ones refused', () => {
    const args = readArguments(signature, { id: 3, n: '4', list: 'one', sure: 'true', other: {} });
    expect([args.text('id'), args.number('n'), args.list('list'), args.flag('sure')]).toEqual(['3', 4, ['one'], true]);
    for (const given of [{}, { id: '1', n: 10 }, { id: '1', n: 'x' }, { id: { a: 1 } }, { id: '1', sure: 'perhaps' }])
      expect(() => readArguments(signature, given)).toThrow();
  });
});
