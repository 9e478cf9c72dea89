import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../base/bytes.ts';
import { Decoder, type Encoder, encoded } from '../../wire/encoding.ts';
import { addrV2 } from '../../wire/types.ts';
import { callOn, type MemoryContext, MemoryObject } from './memory.testing.ts';
import { decodeImage, decodePeer, encodePeer, encodeImage, encodeMirrorSnapshot } from './rbd-mirror-types.ts';
import { decodeSnapshot, encodeSnapNamespace } from './rbd-types.ts';

const call = (
  o: MemoryObject,
  method: string,
  write: (e: Encoder) => void = () => undefined,
  set?: (ctx: MemoryContext) => void,
): Promise<{ rval: number; out: Uint8Array }> => callOn(o, 'rbd', method, encoded(write), set);
const rval = async (...args: Parameters<typeof call>): Promise<number> => (await call(...args)).rval;

describe('mirroring: peers', () => {
  const peer =
    (uuid: string, site: string, direction = 0, mirrorUuid = '') =>
    (e: Encoder) =>
      encodePeer(e, { uuid, site, client: 'client.x', direction, mirrorUuid, lastSeen: { sec: 0, nsec: 0 } });
  const peers = async (o: MemoryObject) => new Decoder((await call(o, 'mirror_peer_list')).out).list(decodePeer);

  async function enabled(): Promise<MemoryObject> {
    const o = new MemoryObject();
    o.exists = true;
    await call(o, 'mirror_uuid_set', (e) => e.string('mine'));
    await call(o, 'mirror_mode_set', (e) => e.u32(1));
    return o;
  }

  test('only in a pool that is mirrored, each once, and none that is ourselves or only sends', async () => {
    const off = new MemoryObject();
    off.exists = true;
    expect(await rval(off, 'mirror_peer_add', peer('u', 's'))).toBe(-22);
    const o = await enabled();
    expect(await rval(o, 'mirror_peer_add', peer('mine', 's'))).toBe(-22);
    expect(await rval(o, 'mirror_peer_add', peer('u', 's', 1))).toBe(-22);
    expect(await rval(o, 'mirror_peer_add', peer('u', 's'))).toBe(0);
    expect(await rval(o, 'mirror_peer_add', peer('u', 't'))).toBe(-116);
    expect(await rval(o, 'mirror_peer_add', peer('v', 's'))).toBe(-17);
    expect(await rval(o, 'mirror_mode_set', (e) => e.u32(0))).toBe(-16);
    expect(await rval(o, 'mirror_peer_set_cluster', (e) => e.string('u').string('new'))).toBe(0);
    expect(await rval(o, 'mirror_peer_set_client', (e) => e.string('none').string('x'))).toBe(-2);
    expect((await peers(o)).map(({ uuid, site }) => [uuid, site])).toEqual([['u', 'new']]);
    expect(await rval(o, 'mirror_peer_remove', (e) => e.string('u'))).toBe(0);
    expect(await rval(o, 'mirror_mode_set', (e) => e.u32(0))).toBe(0);
  });

  test('a ping makes a peer that sends; one that was received from is then both', async () => {
    const o = await enabled();
    const ping = (site: string, uuid: string) => (e: Encoder) => e.string(site).string(uuid).u8(1);
    expect(await rval(o, 'mirror_peer_ping', ping('a', 'uuid-a'))).toBe(0);
    expect(await peers(o)).toMatchObject([{ site: 'a', mirrorUuid: 'uuid-a', direction: 1 }]);
    await call(o, 'mirror_peer_ping', ping('renamed', 'uuid-a'));
    expect(await peers(o)).toMatchObject([{ site: 'renamed', mirrorUuid: 'uuid-a' }]);
    await call(o, 'mirror_peer_add', peer('u', 'b'));
    await call(o, 'mirror_peer_ping', ping('b', 'uuid-b'));
    expect((await peers(o)).find(({ uuid }) => uuid === 'u')).toMatchObject({ direction: 2, mirrorUuid: 'uuid-b' });
  });
});

describe('mirroring: images', () => {
  const image =
    (id: string, globalId: string, state = 1) =>
    (e: Encoder) => {
      e.string(id);
      encodeImage(e, { globalId, state, mode: 0 });
    };
  const status =
    (globalId: string, state: number, uuid = '') =>
    (e: Encoder) => {
      e.string(globalId).struct(2, uuid === '' ? 1 : 2, () => {
        e.string(uuid).u8(state).string('so').utime({ sec: 0, nsec: 0 }).bool(false);
      });
    };
  const me = { name: { type: 8, num: 4100 }, addr: addrV2('127.0.0.1', 0, 4242) };
  const watching = (ctx: MemoryContext): void => {
    ctx.watchers = [{ ...me, addr: { ...me.addr, type: 1 } }];
  };

  test('an image keeps its global id, and goes only when it is being disabled', async () => {
    const o = new MemoryObject();
    o.exists = true;
    expect(await rval(o, 'mirror_image_set', image('1', 'g', 0))).toBe(-2);
    expect(await rval(o, 'mirror_image_set', image('1', 'g'))).toBe(0);
    expect(await rval(o, 'mirror_image_set', image('1', 'h'))).toBe(-22);
    expect(await rval(o, 'mirror_image_set', image('2', 'g'))).toBe(-17);
    const got = await call(o, 'mirror_image_get', (e) => e.string('1'));
    expect(decodeImage(new Decoder(got.out))).toEqual({ globalId: 'g', state: 1, mode: 0 });
    const list = await call(o, 'mirror_image_list', (e) => e.string('').u64(10));
    expect([...new Decoder(list.out).stringStringMap()]).toEqual([['1', 'g']]);
    expect(await rval(o, 'mirror_image_remove', (e) => e.string('1'))).toBe(-16);
    await call(o, 'mirror_image_set', image('1', 'g', 0));
    expect(await rval(o, 'mirror_image_remove', (e) => e.string('1'))).toBe(0);
    expect(await rval(o, 'mirror_image_get_image_id', (e) => e.string('g'))).toBe(-2);
  });

  test('a status is up while who set it watches, down otherwise, and can be cleared then', async () => {
    const o = new MemoryObject();
    o.exists = true;
    await call(o, 'mirror_image_set', image('1', 'g'));
    expect(await rval(o, 'mirror_image_status_get', (e) => e.string('g'))).toBe(-2);
    await call(o, 'mirror_image_status_set', status('g', 4));
    await call(o, 'mirror_image_status_set', status('nosuch', 4));
    const up = async (set?: (ctx: MemoryContext) => void): Promise<[state: number, up: boolean]> => {
      const d = new Decoder((await call(o, 'mirror_image_status_get', (e) => e.string('g'), set)).out);
      return d.struct('MirrorImageStatus', 1, () => {
        const state = d.u8();
        d.string();
        d.utime();
        return [state, d.bool()];
      });
    };
    expect(await up()).toEqual([4, false]);
    expect(await up(watching)).toEqual([4, true]);
    const summary = async (set?: (ctx: MemoryContext) => void): Promise<[number, number][]> => {
      const { out } = await call(o, 'mirror_image_status_get_summary', undefined, set);
      return [
        ...new Decoder(out).map(
          (d) => d.u8(),
          (d) => d.s32(),
        ),
      ];
    };
    expect([await summary(), await summary(watching)]).toEqual([[[0, 1]], [[4, 1]]]);
    expect(await rval(o, 'mirror_image_instance_get', (e) => e.string('g'))).toBe(-116);
    expect(await rval(o, 'mirror_image_instance_get', (e) => e.string('g'), watching)).toBe(0);
    await call(o, 'mirror_image_status_remove_down', undefined, watching);
    expect(await rval(o, 'mirror_image_status_get', (e) => e.string('g'))).toBe(0);
    await call(o, 'mirror_image_status_remove_down');
    expect(await rval(o, 'mirror_image_status_get', (e) => e.string('g'))).toBe(-2);
  });

  test('instances and the map of images', async () => {
    const o = new MemoryObject();
    expect(await rval(o, 'mirror_instances_remove', (e) => e.string('i'))).toBe(-2);
    await call(o, 'mirror_instances_add', (e) => e.string('i'));
    expect(new Decoder((await call(o, 'mirror_instances_list')).out).stringList()).toEqual(['i']);
    const map = (e: Encoder): unknown =>
      e.struct(1, 1, () => e.string('i').utime({ sec: 3, nsec: 4 }).blob(utf8('data')));
    await call(o, 'mirror_image_map_update', (e) => {
      e.string('g');
      map(e);
    });
    const list = (await call(o, 'mirror_image_map_list', (e) => e.string('').u64(5))).out;
    expect(list).toEqual(
      encoded((e) => {
        e.u32(1).string('g');
        map(e);
      }),
    );
    expect(await rval(o, 'mirror_image_map_remove', (e) => e.string('g'))).toBe(0);
  });

  test('snapshots: peers are unlinked one by one; how far the copy is', async () => {
    const o = new MemoryObject();
    await call(o, 'create', (e) => e.u64(1024).u8(22).u64(0).string('p').s64(-1));
    for (const id of [1, 2])
      await call(o, 'snapshot_add', (e) => {
        e.string(`s${id}`).u64(id);
        const payload = encoded((x) =>
          encodeMirrorSnapshot(x, {
            state: 2,
            complete: false,
            peers: new Set(['a']),
            primaryUuid: 'p',
            primarySnap: 9n,
            lastCopied: 0n,
            snapSeqs: new Map([[1n, 2n]]),
          }),
        );
        encodeSnapNamespace(e, { type: 3, payload });
      });
    const unlink = (id: number, who: string): Promise<number> =>
      rval(o, 'mirror_image_snapshot_unlink_peer', (e) => e.u64(id).string(who));
    expect(await unlink(7, 'a')).toBe(-2);
    expect(await unlink(1, 'nobody')).toBe(-2);
    expect(await unlink(2, 'a')).toBe(0);
    expect(await unlink(2, 'a')).toBe(-2);
    expect(await rval(o, 'mirror_image_snapshot_set_copy_progress', (e) => e.u64(1).bool(true).u64(77))).toBe(0);
    const stored = decodeSnapshot(new Decoder(o.omap.get('snapshot_0000000000000001')!));
    const d = new Decoder(stored.namespace.payload);
    expect([d.u8(), d.bool(), [...d.stringSet()], d.string(), d.u64(), d.u64()]).toEqual([2, true, ['a'], 'p', 9, 77]);
  });
});

describe('migration', () => {
  const spec = (role: number) => (e: Encoder) =>
    e.struct(3, 1, () => {
      e.u8(role).s64(1).string('').string('name').string('id').u32(0).u64(5).bool(false).bool(false).u8(1).string('');
      e.u8(0).string('');
    });

  test('a header of format 2 gets the feature, and loses it', async () => {
    const o = new MemoryObject();
    await call(o, 'create', (e) => e.u64(1024).u8(22).u64(1).string('p').s64(-1));
    expect(await rval(o, 'migration_get')).toBe(-22);
    expect(await rval(o, 'migration_set', spec(1))).toBe(0);
    expect(await rval(o, 'migration_set', spec(1))).toBe(-17);
    expect(await rval(o, 'migration_set_state', (e) => e.u8(3).string('half'))).toBe(0);
    expect(new Decoder(o.omap.get('features')!).u64()).toBe(513);
    expect((await call(o, 'migration_get')).out.length).toBeGreaterThan(30);
    await call(o, 'migration_remove');
    expect([await rval(o, 'migration_get'), new Decoder(o.omap.get('features')!).u64()]).toEqual([-22, 1]);
  });

  test('one of format 1 begins with another text meanwhile; it can only be a source', async () => {
    const o = new MemoryObject();
    o.exists = true;
    o.data = new Uint8Array(112);
    expect(await rval(o, 'migration_set', spec(1))).toBe(-6);
    o.data.set(utf8('<<< Rados Block Device Image >>>\n'));
    expect(await rval(o, 'migration_set', spec(2))).toBe(-22);
    expect(await rval(o, 'migration_set', spec(1))).toBe(0);
    expect(Buffer.from(o.data).toString('latin1', 0, 13)).toBe('<<< Migrating');
    await call(o, 'migration_remove');
    expect(Buffer.from(o.data).toString('latin1', 0, 9)).toBe('<<< Rados');
  });
});

test('snapshots of format 1: newest first, names and ids once, ids only grow', async () => {
  const o = new MemoryObject();
  o.exists = true;
  expect(await rval(o, 'snap_list')).toBe(-22);
  o.data = new Uint8Array(112);
  new DataView(o.data.buffer).setUint32(80, 4096, true);
  const add = (name: string, id: number): Promise<number> => rval(o, 'snap_add', (e) => e.string(name).u64(id));
  expect([await add('one', 1), await add('two', 2), await add('two', 3), await add('late', 1)]).toEqual([
    0, 0, -17, -116,
  ]);
  const list = async (): Promise<unknown[]> => {
    const d = new Decoder((await call(o, 'snap_list')).out);
    const seq = d.u64();
    return [seq, ...d.list((x) => [x.u64(), x.u64(), x.string()])];
  };
  expect(await list()).toEqual([2, [2, 4096, 'two'], [1, 4096, 'one']]);
  expect(await rval(o, 'snap_rename', (e) => e.u64(1).string('two'))).toBe(-17);
  expect(await rval(o, 'snap_rename', (e) => e.u64(9).string('x'))).toBe(-2);
  expect(await rval(o, 'snap_rename', (e) => e.u64(1).string('first'))).toBe(0);
  expect(await rval(o, 'snap_remove', (e) => e.string('two'))).toBe(0);
  expect(await list()).toEqual([2, [1, 4096, 'first']]);
  expect(await rval(o, 'snap_remove', (e) => e.string('two'))).toBe(-2);
});

test('assert_snapc_seq holds for what is not there yet', async () => {
  const o = new MemoryObject();
  expect(await rval(o, 'assert_snapc_seq', (e) => e.u64(0).u8(0))).toBe(0);
  expect(await rval(o, 'assert_snapc_seq', (e) => e.u64(0).u8(1))).toBe(-34);
});
