import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { OP, OsdOp } from '../wire/messages/osd_op.ts';
import { extentsText, holeOp, wholeObject } from './holes.testing.ts';
import { singleOsd, TestClient } from './sim/single.testing.ts';

test('what is a hole after writes, zeroes and truncations is what a real OSD says', async () => {
  const client = new TestClient(await singleOsd());
  const lines = readFileSync(join(import.meta.dirname, 'holes-recorded.txt'), 'utf8').split('\n');
  let object = 0;
  let compared = 0;
  for (const line of lines) {
    if (line === '' || line.startsWith('#')) continue;
    if (line === 'object') {
      object++;
      continue;
    }
    const [text = '', ...recorded] = line.split(' | ');
    const oid = `object-${object}`;
    await client.exec(oid, [holeOp(text)]);
    const answers: string[] = [];
    for (const op of [OP.MAPEXT, OP.SPARSE_READ]) {
      const { result, outs } = await client.exec(oid, [OsdOp.extent(op, 0, wholeObject)]);
      answers.push(result === -2 ? 'ENOENT' : extentsText(outs[0]!));
    }
    expect(answers, `object ${object}: ${text}`).toEqual(recorded);
    compared++;
  }
  expect(compared).toBeGreaterThan(200);
});
