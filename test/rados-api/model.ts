/**
 * `bun test/rados-api/model.ts ROOT [seconds] [--kill] [--erasure] [--pool-snaps] [--balance-reads]`: Ceph's `ceph_test_rados` against this appliance: random writes, copies,
 * snapshots, rollbacks, attributes and deletions of fifty objects, each read checked against a model of what must be there. With `--kill` an OSD of three dies by
 * SIGKILL every ten seconds meanwhile; with `--erasure` the pool is erasure-coded (k=2, m=1, with overwrites). ROOT as for `main.ts`. Exit code 0 when everything read was right.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { run, TestNode, until } from '../e2e/harness.ts';
import { inRoot } from './in-root.ts';

const killEveryMs = 10_000;

const flags = process.argv.slice(2).filter((one) => one.startsWith('--'));
const [root, secondsText = '60'] = process.argv.slice(2).filter((one) => !one.startsWith('--'));
if (root === undefined || !existsSync(join(root, 'usr/bin/ceph_test_rados'))) {
  console.error(
    `${root ?? 'ROOT'}: no directory with usr/bin/ceph_test_rados; test/rados-api/README.md tells how to make one`,
  );
  process.exit(2);
}
const seconds = Number(secondsText);
const erasure = flags.includes('--erasure');
/** Weights of the operations. */
const operations = {
  read: 100,
  write: 50,
  write_excl: 50,
  append: 25,
  append_excl: 25,
  delete: 50,
  snap_create: 50,
  snap_remove: 50,
  rollback: 50,
  copy_from: 50,
  setattr: 25,
  rmattr: 25,
};
const node = new TestNode({ config: 'roles: [mon, mgr, osd]' });

async function osdPids(): Promise<number[]> {
  const { instances } = await node.status();
  return instances.filter(({ name, pid }) => name.startsWith('osd') && pid !== undefined).map(({ pid }) => pid!);
}

let code = 1;
try {
  await node.makeNetwork();
  await node.up();
  if (erasure) {
    const profile = ['k=2', 'm=1', 'crush-failure-domain=osd'];
    await node.mustTool(['ceph', 'osd', 'erasure-code-profile', 'set', 'ec21', ...profile]);
    await node.mustTool(['ceph', 'osd', 'pool', 'create', 'model', '16', '16', 'erasure', 'ec21']);
    await node.mustTool(['ceph', 'osd', 'pool', 'set', 'model', 'allow_ec_overwrites', 'true']);
  } else await node.mustTool(['ceph', 'osd', 'pool', 'create', 'model', '16']);
  await node.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', 'model', 'test']);
  await until('clean', 60_000, async () => /\d+ active\+clean\n/.test(await node.mustTool(['ceph', '-s'])));
  const argv = ['ceph_test_rados', '--max-ops', '1000000', '--max-seconds', String(seconds), '--objects', '50'];
  argv.push('--max-in-flight', '16', '--size', '4000000', '--min-stride-size', '400000', '--max-stride-size', '800000');
  for (const [name, weight] of Object.entries(operations)) argv.push('--op', name, String(weight));
  argv.push('--pool', 'model', ...flags.filter((flag) => flag !== '--kill' && flag !== '--erasure'));
  if (erasure) argv.push('--no-omap');
  let over = false;
  const load = run(inRoot(root, node, argv, { CEPH_CLIENT_ID: 'admin' }), { timeoutMs: (seconds + 300) * 1000 });
  void load.then(() => {
    over = true;
  });
  let kills = 0;
  while (!over && flags.includes('--kill')) {
    await Promise.race([load, Bun.sleep(killEveryMs)]);
    if (over) break;
    const pids = await osdPids();
    const pid = pids[kills % pids.length];
    // All wait for their next start.
    if (pid === undefined) continue;
    process.kill(pid, 'SIGKILL');
    kills++;
  }
  const output = await load;
  if (process.env.MODEL_LOG) await Bun.write(process.env.MODEL_LOG, output.stdout + output.stderr);
  code = output.code;
  const text = output.stdout + output.stderr;
  const done = /^(\d+): done \(0 left\)/m.exec(text)?.[1] ?? 'an unknown number of';
  if (code !== 0) console.log(text.slice(-6000));
  console.log(`ceph_test_rados: exit code ${code} after ${done} operations in ${seconds} s, ${kills} OSDs killed`);
} finally {
  await node.remove();
  await run(['rmdir', join(root, node.directory)]);
}
process.exit(code === 0 ? 0 : 1);
