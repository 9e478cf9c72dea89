/**
 * `bun test/rados-api/record-holes.ts CEPH_CONF POOL`: random writes, zeroes, truncations and appends on objects of a replicated pool of a cluster, with what it then tells of holes:
 * makes `internal/ceph/osd/holes-recorded.txt` from a real cluster. One line an op: its name and numbers, `|`, MAPEXT, `|`, SPARSE_READ. A line `object` begins an object.
 */
import { readFileSync } from 'node:fs';
import { seededRandom } from '../../internal/base/random.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { parseKeyring } from '../../internal/ceph/auth/keyring.ts';
import { connectRados } from '../../internal/ceph/client/rados-client.ts';
import { extentsText, holeOp, wholeObject } from '../../internal/ceph/osd/holes.testing.ts';
import { OP, OsdOp } from '../../internal/ceph/wire/messages/osd_op.ts';
import { parseAddr } from '../../internal/ceph/wire/types.ts';

const [conf, pool] = process.argv.slice(2);
if (conf === undefined || pool === undefined) throw new Error('record-holes.ts CEPH_CONF POOL');
const setting = (name: string): string =>
  new RegExp(`^\\s*${name}\\s*=\\s*(.*)$`, 'm').exec(readFileSync(conf, 'utf8'))?.[1]?.trim() ?? '';
const client = await connectRados({
  entity: { type: 8, id: 'admin' },
  key: parseKeyring(readFileSync(setting('keyring'), 'utf8')).get('client.admin')!.key,
  monAddrs: [[parseAddr(setting('mon host').replace(/^\[|\]$/g, ''))!]],
  clock: systemClock,
  random: systemRandom,
  log: silentLogger,
});
const io = await client.ioctx(pool);
const random = seededRandom(18);
const pick = <T>(from: readonly T[]): T => from[random.uint32() % from.length]!;
const below = (limit: number): number => random.uint32() % limit;
for (let object = 0; object < 12; object++) {
  const oid = `holes-${process.pid}-${object}`;
  console.log('object');
  const largest = pick([5000, 20_000, 200_000, 3_000_000]);
  const at = (): number => (below(3) === 0 ? 4096 * below(Math.ceil(largest / 4096)) : below(largest));
  const length = (): number => pick([1, 1 + below(100), 512, 4096, 1 + below(8192), 1 + below(Math.ceil(largest / 3))]);
  for (let step = 0; step < 25; step++) {
    const name = pick(['write', 'write', 'write', 'zeros', 'zero', 'zero', 'zero', 'truncate', 'append', 'writefull']);
    if (name === 'writefull' && below(3) !== 0) continue;
    const text =
      name === 'truncate'
        ? `${name} ${at()}`
        : /append|full/.test(name)
          ? `${name} ${length()}`
          : `${name} ${at()} ${length()}`;
    await io.run(oid, [holeOp(text)], true);
    const answers: string[] = [];
    for (const op of [OP.MAPEXT, OP.SPARSE_READ]) {
      const reply = await io.tryRun(oid, [OsdOp.extent(op, 0, wholeObject)], false);
      const out = Buffer.concat(reply.ops[0]?.out ?? []);
      answers.push(reply.result === -2 ? 'ENOENT' : extentsText(out));
    }
    console.log([text, ...answers].join(' | '));
  }
  await io.remove(oid).catch(() => undefined);
}
await client.close();
