/** `bun test/bench/erasure.bench.ts`: how fast erasure codes are made and used, MB of object a second, on one core. */
import { combineByTables, combineByVectors, type Combine } from '../../internal/ceph/erasure/kernel.ts';
import { scatter } from '../../internal/ceph/erasure/layout.ts';
import { codeOf } from '../../internal/ceph/erasure/profile.ts';
import { jerasureVandermonde } from '../../internal/ceph/erasure/matrix.ts';

const objectBytes = 4 * 2 ** 20;

function rate(run: () => void): string {
  for (let i = 0; i < 3; i++) run();
  let rounds = 0;
  const start = performance.now();
  while (performance.now() - start < 700) {
    run();
    rounds++;
  }
  return `${((rounds * objectBytes) / 1e6 / ((performance.now() - start) / 1000)).toFixed(0)} MB/s`;
}

for (const [k, m] of [
  [2, 1],
  [4, 2],
  [8, 3],
] as const) {
  const object = new Uint8Array(objectBytes).map((_, i) => (i * 2654435761) >>> 13);
  const data = Array.from({ length: k }, () => new Uint8Array(objectBytes / k));
  const cut = (): void => scatter({ k, chunkBytes: 4096 }, data, 0, object);
  cut();
  const rows = jerasureVandermonde(k, m);
  const out = rows.map(() => new Uint8Array(data[0]!.length));
  const by = (combine: Combine | undefined): string =>
    combine === undefined ? '-' : rate(() => combine(rows, data, out));
  const code = codeOf(
    new Map([
      ['plugin', 'jerasure'],
      ['k', String(k)],
      ['m', String(m)],
    ]),
  );
  const present = new Map([...data, ...code.encode(data)].map((chunk, i) => [i, chunk] as const));
  present.delete(0);
  console.log(
    `k=${k} m=${m}: encode by vectors ${by(combineByVectors)}, by tables ${by(combineByTables)}; cut into shards ${rate(cut)}; rebuild one of ${k} ${rate(() => void code.rebuild(present, [0]))}`,
  );
}
