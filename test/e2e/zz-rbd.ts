import { writeFileSync } from 'node:fs';
import { CephCluster } from './ceph-cluster.ts';
const c = new CephCluster('rbdall', 26_150);
const results: [string, string][] = [];
const input = (n: number): Buffer => Buffer.alloc(n, 'some data of an image. ');
async function sh(name: string, line: string, check?: (out: string) => boolean): Promise<string> {
  const child = Bun.spawn(['timeout', '100', 'bash', '-c', line], { env: { ...process.env, CEPH_CONF: c.conf, D: c.directory }, stdout: 'pipe', stderr: 'pipe' });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  const ok = code === 0 && (check === undefined || check(out));
  results.push([ok ? 'ok' : 'FAIL', name]);
  console.log(ok ? 'ok  ' : 'FAIL', name, ok ? '' : `code ${code} ${out.slice(-300)} ${err.slice(-400)}`);
  return out;
}
try {
  await c.start(1);
  await c.must(['ceph', 'config', 'set', 'global', 'osd_pool_default_size', '1']);
  await c.must(['ceph', 'config', 'set', 'mon', 'mon_allow_pool_size_one', 'true']);
  for (const p of ['rbd', 'other']) { await c.must(['ceph', 'osd', 'pool', 'create', p, '4']); await c.tool(['ceph', 'osd', 'pool', 'set', p, 'size', '1', '--yes-i-really-mean-it']); await c.must(['rbd', 'pool', 'init', p]); }
  writeFileSync(`${c.directory}/in`, input(20 << 20));
  await sh('create with every feature', 'rbd create --size 64M --image-feature layering,exclusive-lock,object-map,fast-diff,deep-flatten,journaling a && rbd info a', (o) => o.includes('journaling') && o.includes('deep-flatten'));
  await sh('bench write on a journaled image', 'rbd bench --io-type write --io-size 8192 --io-total 512K --io-pattern rand a');
  await sh('journal info, status', 'rbd journal info --image a && rbd journal status --image a', (o) => o.includes('order'));
  await sh('journal inspect', 'rbd journal inspect --image a');
  await sh('journal export, import', 'rbd journal export --image a $D/j && rbd create --size 64M --image-feature exclusive-lock,journaling aj && rbd journal import --dest-image aj $D/j || true');
  await sh('feature disable/enable', 'rbd feature disable a journaling && rbd feature disable a fast-diff,object-map && rbd feature enable a object-map,fast-diff && rbd object-map rebuild a --no-progress && rbd object-map check a --no-progress');
  await sh('import, export', 'rbd import $D/in i && rbd export i $D/out && cmp $D/in $D/out');
  await sh('snap create protect clone', 'rbd snap create i@s && rbd snap protect i@s && rbd clone i@s child && rbd children i@s', (o) => o.includes('child'));
  await sh('clone reads parent', 'rbd export child $D/out && cmp $D/in $D/out');
  await sh('clone write, copyup', 'rbd bench --io-type write --io-size 4096 --io-total 256K --io-pattern rand child');
  await sh('flatten, unprotect', 'rbd flatten child --no-progress && rbd snap unprotect i@s');
  await sh('resize', 'rbd resize --size 32M i --no-progress && rbd resize --size 8M --allow-shrink i --no-progress && rbd resize --size 20M i --no-progress');
  await sh('du, diff', 'rbd du i && rbd diff i && rbd diff --from-snap s i --whole-object && rbd diff --format json i@s', (o) => o.includes('data'));
  await sh('export-diff, import-diff', 'rbd export-diff i@s $D/d1 && rbd bench --io-type write --io-size 65536 --io-total 1M i && rbd snap create i@t && rbd export-diff --from-snap s i@t $D/d2 && rbd create --size 20M copy && rbd import-diff $D/d1 copy && rbd import-diff $D/d2 copy && rbd export copy $D/o1 && rbd export i@t $D/o2 && cmp $D/o1 $D/o2');
  await sh('merge-diff', 'rbd merge-diff $D/d1 $D/d2 $D/d3 && rbd create --size 20M copy2 && rbd import-diff $D/d3 copy2 && rbd export copy2 $D/o1 && cmp $D/o1 $D/o2');
  await sh('snap rollback, rename, limit, ls', 'rbd snap rollback i@s --no-progress; rbd snap rename i@t i@u && rbd snap limit set --limit 5 i && rbd snap limit clear i && rbd snap ls i', (o) => o.includes('u'));
  await sh('cp, deep cp', 'rbd cp i c1 --no-progress && rbd deep cp i c2 --no-progress && rbd snap ls c2 && rbd export c2 $D/o1 && rbd export i $D/o2 && cmp $D/o1 $D/o2', (o) => o.includes('u'));
  await sh('sparsify', 'dd if=/dev/zero of=$D/z bs=1M count=4 status=none; rbd create --size 8M z && rbd bench --io-type write --io-size 4096 --io-total 64K z >/dev/null && rbd sparsify z --no-progress --sparse-size 4096 && rbd export z $D/o1');
  await sh('trash', 'rbd trash mv c1 && ID=$(rbd trash ls | cut -d" " -f1) && rbd trash restore $ID && rbd trash mv c1 && rbd trash purge');
  await sh('rename, image-meta', 'rbd rename c2 c3 && rbd image-meta set c3 k v && rbd image-meta get c3 k && rbd image-meta list c3 && rbd image-meta remove c3 k', (o) => o.includes('v'));
  await sh('lock', 'rbd lock add c3 id1 && rbd lock ls c3 && rbd lock rm c3 id1 $(rbd lock ls c3 | tail -1 | cut -d" " -f1)');
  await sh('namespace', 'rbd namespace create rbd/ns && rbd namespace ls rbd && rbd create --size 4M rbd/ns/x && rbd ls rbd/ns && rbd rm rbd/ns/x --no-progress && rbd namespace rm rbd/ns', (o) => o.includes('ns'));
  await sh('group', 'rbd group create g && rbd group image add g c3 && rbd group snap create g@s && rbd group snap ls g && rbd group image ls g && rbd group snap rollback g@s --no-progress; rbd group snap rm g@s && rbd group image rm g c3 && rbd group rm g', (o) => o.includes('c3'));
  await sh('migration', 'rbd migration prepare c3 other/c4 && rbd migration execute other/c4 --no-progress && rbd migration commit other/c4 --no-progress && rbd info other/c4', (o) => o.includes('c4'));
  await sh('migration abort', 'rbd migration prepare other/c4 c5 && rbd migration abort c5 --no-progress && rbd info other/c4');
  await sh('data pool', 'rbd create --size 8M --data-pool other dp && rbd bench --io-type write --io-size 4096 --io-total 64K dp && rbd info dp', (o) => o.includes('data_pool'));
  await sh('clone v2', 'rbd snap create copy@v && rbd clone --rbd-default-clone-format 2 copy@v cv2 && rbd snap rm copy@v --no-progress && rbd snap ls --all copy && rbd flatten cv2 --no-progress', (o) => o.includes('trash'));
  await sh('format 1', 'rbd create --image-format 1 --size 8M old 2>&1; rbd info old && rbd snap create old@s && rbd bench --io-type write --io-size 4096 --io-total 64K old && rbd snap rollback old@s --no-progress && rbd snap rm old@s --no-progress && rbd rm old --no-progress');
  await sh('mirror image', 'rbd mirror pool enable rbd image && rbd mirror image enable copy snapshot && rbd mirror image snapshot copy && rbd mirror image status copy; rbd mirror image disable copy && rbd mirror pool disable rbd');
  await sh('config, perf, status, watch', 'rbd config image set copy rbd_cache false && rbd config image ls copy >/dev/null && rbd config pool set rbd rbd_cache false && rbd status copy && rbd pool stats rbd');
  await sh('striping', 'rbd create --size 16M --object-size 1M --stripe-unit 64K --stripe-count 4 st && rbd bench --io-type write --io-size 65536 --io-total 1M st && rbd export st $D/o1');
  await sh('encryption format', 'rbd create --size 40M enc && echo pass > $D/pw && rbd encryption format enc luks2 $D/pw');
  await sh('rm all', 'rbd snap purge i --no-progress && for x in a child i copy copy2 dp; do rbd snap purge $x --no-progress; rbd rm $x --no-progress || exit 1; done');
} finally {
  await c.stop();
}
console.log(results.filter(([r]) => r === 'ok').length, 'ok of', results.length);
process.exit(0);
