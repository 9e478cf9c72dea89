import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type TestNode, until } from './harness.ts';

const minute = 60_000;

/**
 * What unmodified clients of Ceph do with a node's storage, whoever stores: `ceph`, `rados`, `rbd` and python3-rados. The node has three OSDs and the pool `replicapool`; afterwards it has the
 * pool `bench`, too.
 */
export function storageClientTests(node: TestNode): void {
  test('ceph: status, tree, df, pools', { timeout: 2 * minute }, async () => {
    expect(await node.mustTool(['ceph', '-s'])).toMatch(/health: HEALTH_OK[\s\S]*osd: 3 osds: 3 up \(since .*\), 3 in/);
    expect(await node.mustTool(['ceph', 'osd', 'tree'])).toMatch(/host node-1[\s\S]*osd\.0\s+up[\s\S]*osd\.2\s+up/);
    expect(await node.mustTool(['ceph', 'df'])).toMatch(/RAW STORAGE[\s\S]*replicapool/);
    await node.mustTool(['ceph', 'osd', 'pool', 'create', 'bench', '16']);
    await node.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', 'bench', 'test']);
    await node.healthy();
  });

  test('rados: put, get, ls, stat, rm', { timeout: minute }, async () => {
    const file = join(node.directory, 'object');
    writeFileSync(file, Buffer.alloc(5_000_000, 'appliance '));
    await node.mustTool(['rados', '-p', 'bench', 'put', 'one', file]);
    await node.mustTool(['rados', '-p', 'bench', 'get', 'one', `${file}.back`]);
    expect(readFileSync(`${file}.back`).equals(readFileSync(file))).toBe(true);
    expect((await node.mustTool(['rados', '-p', 'bench', 'ls'])).trim()).toBe('one');
    expect(await node.mustTool(['rados', '-p', 'bench', 'stat', 'one'])).toContain('size 5000000');
    await node.mustTool(['rados', '-p', 'bench', 'rm', 'one']);
    expect((await node.tool(['rados', '-p', 'bench', 'stat', 'one'])).stderr).toContain('No such file or directory');
  });

  test('rados bench: write, seq, rand', { timeout: 2 * minute }, async () => {
    expect(
      await node.mustTool(['rados', '-p', 'bench', 'bench', '5', 'write', '-b', '65536', '--no-cleanup']),
    ).toContain('Total writes made');
    expect(await node.mustTool(['rados', '-p', 'bench', 'bench', '3', 'seq'])).toContain('Total reads made');
    expect(await node.mustTool(['rados', '-p', 'bench', 'bench', '3', 'rand'])).toContain('Total reads made');
    await node.mustTool(['rados', '-p', 'bench', 'cleanup']);
    await until('rados df counts what was done', minute, async () => {
      const { pools } = JSON.parse(await node.mustTool(['rados', 'df', '-f', 'json'])) as {
        pools: { name: string; read_ops: number; write_ops: number; write_bytes: number }[];
      };
      const of = pools.find(({ name }) => name === 'bench');
      return of !== undefined && of.read_ops > 0 && of.write_ops > 0 && of.write_bytes > 65536;
    });
  });

  test('rbd: create, info, ls, resize, bench, rm', { timeout: 2 * minute }, async () => {
    await node.mustTool(['rbd', 'create', 'replicapool/disk', '--size', '64']);
    expect(await node.mustTool(['rbd', 'info', 'replicapool/disk'])).toMatch(
      /size 64 MiB in 16 objects[\s\S]*features: layering, exclusive-lock, object-map, fast-diff, deep-flatten/,
    );
    expect(await node.mustTool(['rbd', 'ls', 'replicapool'])).toContain('disk\n');
    await node.mustTool(['rbd', 'resize', 'replicapool/disk', '--size', '128']);
    expect(await node.mustTool(['rbd', 'info', 'replicapool/disk'])).toContain('size 128 MiB in 32 objects');
    expect(
      await node.mustTool([
        'rbd',
        'bench',
        '--io-type',
        'write',
        '--io-size',
        '4K',
        '--io-total',
        '4M',
        'replicapool/disk',
      ]),
    ).toContain('elapsed');
    await node.mustTool(['rbd', 'rm', 'replicapool/disk']);
    expect(await node.mustTool(['rbd', 'ls', 'replicapool'])).not.toContain('disk');
  });

  test('python3-rados: extended attributes, omap, an atomic operation, an object class', {
    timeout: minute,
  }, async () => {
    const script = join(node.directory, 'client.py');
    writeFileSync(script, pythonClient);
    // Not the python3 that is first on PATH: Debian's has the bindings.
    expect(await node.mustTool(['/usr/bin/python3', script, node.cephConf])).toBe('all as expected\n');
  });
}

const pythonClient = `
import rados, sys
cluster = rados.Rados(conffile=sys.argv[1], name='client.admin')
cluster.connect(timeout=30)
io = cluster.open_ioctx('bench')
io.write_full('one', b'hello')
io.append('one', b' world')
assert io.read('one') == b'hello world'
io.write('one', b'HELLO', 0)
assert io.read('one', 5, 0) == b'HELLO' and io.stat('one')[0] == 11
io.set_xattr('one', 'colour', b'green')
assert io.get_xattr('one', 'colour') == b'green' and [k for k, _ in io.get_xattrs('one')] == ['colour']
with rados.WriteOpCtx() as op:
    op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
    io.set_omap(op, ('a', 'b'), (b'1', b'2'))
    io.operate_write_op(op, 'two')
with rados.WriteOpCtx() as op:
    op.new(rados.LIBRADOS_CREATE_EXCLUSIVE)
    try:
        io.operate_write_op(op, 'two')
        raise SystemExit('an exclusive create of what is there went through')
    except rados.ObjectExists:
        pass
with rados.ReadOpCtx() as op:
    values, _ = io.get_omap_vals(op, '', '', 10)
    io.operate_read_op(op, 'two')
    assert list(values) == [('a', b'1'), ('b', b'2')], list(values)
io.lock_exclusive('one', 'lock', 'cookie')
try:
    io.lock_exclusive('one', 'lock', 'another cookie')
    raise SystemExit('a lock was given twice')
except (rados.ObjectExists, rados.ObjectBusy):
    pass
io.unlock('one', 'lock', 'cookie')
futures = [io.aio_write_full('many-%d' % n, b'x' * 10000) for n in range(100)]
for future in futures:
    future.wait_for_complete()
    assert future.get_return_value() == 0
assert sorted(o.key for o in io.list_objects()) == sorted(['one', 'two'] + ['many-%d' % n for n in range(100)])
for o in list(io.list_objects()):
    o.remove()
assert list(io.list_objects()) == []
io.close()
cluster.shutdown()
print('all as expected')
`;
