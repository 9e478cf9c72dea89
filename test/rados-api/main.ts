/**
 * `bun test/rados-api/main.ts ROOT [PROGRAM[:FILTER]...]`: Ceph's own test programs against this appliance with three OSDs, and the table of what passed.
 * ROOT is the root directory of a Debian 13 with the package `ceph-test` (README.md tells how to make one). Needs root. Tests that are known not to pass
 * (`known-results.txt`) are left out unless `--all` is given; a result that is not the known one makes the exit code 1. `--log` prints what failed tests said.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { must, run, TestNode } from '../e2e/harness.ts';
import { inRoot } from './in-root.ts';
import { GtestOutput, KnownResults, testNames } from './gtest.ts';
import { lines } from '../lines.ts';

const api =
  `io io_pp aio aio_pp stat stat_pp c_read_operations c_write_operations list lock lock_pp misc misc_pp pool snapshots snapshots_pp
  watch_notify watch_notify_pp cmd cmd_pp service service_pp asio`.split(/\s+/);
const classes = ['hello', 'lock', 'log', 'numops', 'rbd', 'refcount'];
const programs = [...api.map((name) => `rados_api_${name}`), ...classes.map((name) => `cls_${name}`)];

/** No test says nothing for longer: those of watches wait for half a minute. */
const silentMs = Number(process.env.SILENT_SECONDS ?? 150) * 1000;

const flags = process.argv.slice(2).filter((one) => one.startsWith('--'));
const [root, ...wanted] = process.argv.slice(2).filter((one) => !one.startsWith('--'));
if (root === undefined || !existsSync(join(root, 'usr/bin/ceph_test_rados_api_io'))) {
  console.error(
    `${root ?? 'ROOT'}: no directory with usr/bin/ceph_test_rados_api_io; test/rados-api/README.md tells how to make one`,
  );
  process.exit(2);
}
const known = new KnownResults(readFileSync(join(import.meta.dirname, 'known-results.txt'), 'utf8'));
const node = new TestNode({ config: 'roles: [mon, mgr, osd]' });

const chrooted = (...argv: string[]): string[] => inRoot(root, node, argv);

/** Runs tests of a program; one that hangs is given up, and those behind it are run without it. */
async function runTests(program: string, names: readonly string[]): Promise<GtestOutput> {
  const output = new GtestOutput();
  let left = names;
  while (left.length > 0) {
    const child = Bun.spawn(chrooted('stdbuf', '-oL', '-eL', program, `--gtest_filter=${left.join(':')}`), {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'ignore',
    });
    let hung = false;
    const giveUp = (): void => {
      hung = true;
      child.kill('SIGKILL');
    };
    let timer = setTimeout(giveUp, silentMs);
    for await (const line of lines(child.stdout)) {
      clearTimeout(timer);
      timer = setTimeout(giveUp, silentMs);
      if (flags.includes('--verbose')) console.log(line);
      output.line(line);
    }
    clearTimeout(timer);
    await child.exited;
    output.end(hung ? 'hung' : 'failed');
    const behind = left.filter((name) => !output.outcomes.has(name));
    // A suite that cannot be set up runs no test at all.
    if (behind.length === left.length) {
      for (const name of behind) output.outcomes.set(name, 'failed');
      break;
    }
    left = behind;
  }
  return output;
}

let unexpected = 0;
try {
  await node.makeNetwork();
  await node.up();
  await node.mustTool(['ceph', 'config', 'set', 'global', 'mon_allow_pool_delete', 'true']);
  // Tests that fail leave their pools behind.
  await node.mustTool(['ceph', 'config', 'set', 'global', 'mon_max_pg_per_osd', '5000']);
  console.log(
    '| program | tests | passed | failed | skipped | not run: known | seconds | failed |\n|---|---|---|---|---|---|---|---|',
  );
  for (const one of wanted.length > 0 ? wanted : programs) {
    const [short, filter] = one.replace(/^ceph_test_/, '').split(':') as [string, string | undefined];
    const program = `ceph_test_${short}`;
    const list = await must(
      chrooted(program, '--gtest_list_tests', ...(filter === undefined ? [] : [`--gtest_filter=${filter}`])),
    );
    const names = testNames(list);
    const toRun = flags.includes('--all') ? names : names.filter((name) => known.reason(name) === undefined);
    const began = performance.now();
    const output = await runTests(program, toRun);
    const count = (outcome: string): number =>
      [...output.outcomes.values()].filter((value) => value === outcome).length;
    const failed = [...output.outcomes].filter(([, outcome]) => outcome === 'failed' || outcome === 'hung');
    unexpected += failed.filter(([name]) => known.reason(name) === undefined).length;
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    const text = failed.map(([name, outcome]) => (outcome === 'hung' ? `${name} (hung)` : name)).join(', ');
    console.log(
      `| ${short} | ${names.length} | ${count('passed')} | ${failed.length} | ${count('skipped')} | ${names.length - toRun.length} | ${seconds} | ${text} |`,
    );
    if (flags.includes('--log'))
      for (const [name] of failed) console.log(`--- ${name}\n${(output.said.get(name) ?? []).join('\n')}`);
  }
} finally {
  await node.remove();
  await run(['rmdir', join(root, node.directory)]);
}
process.exit(unexpected > 0 ? 1 : 0);
