import { expect, test } from 'vitest';
import { seededRandom } from './random.ts';
import { pemBlocks, pemCertificates } from './pem.ts';

const block = (type: string, content: Uint8Array | string, headers = ''): string =>
  `-----BEGIN ${type}-----\n${headers}${Buffer.from(content).toString('base64')}\n-----END ${type}-----\n`;

test('blocks in their order, with text around them and with either ends of line', () => {
  const text = `first ${block('A', 'one')}between\n${block('NEW B 2', 'two').replaceAll('\n', '\r\n')}end`;
  expect(pemBlocks(text).map(({ type, bytes }) => [type, bytes.toString()])).toEqual([
    ['A', 'one'],
    ['NEW B 2', 'two'],
  ]);
  expect(pemBlocks(text)[0]!.text).toBe(block('A', 'one').trim());
});

test('headers are told and are no content', () => {
  const [one] = pemBlocks(block('A', 'one', 'Proc-Type: 4,ENCRYPTED\n\n'));
  expect([one!.headers, one!.bytes.toString()]).toEqual([true, 'one']);
  expect(pemBlocks(block('A', 'one'))[0]!.headers).toBe(false);
});

test.each([
  '',
  '-----BEGIN A-----\nb25l\n',
  '-----BEGIN A-----\nb25l\n-----END B-----\n',
  '-----BEGIN A-----b25l-----END A-----',
  '-----BEGIN a-----\nb25l\n-----END a-----\n',
  '-----BEGIN -----\nb25l\n-----END -----\n',
  '-----BEGIN A',
])('%j has no block', (text) => {
  expect(pemBlocks(text)).toEqual([]);
});

test('one without an end hides none that follows', () => {
  expect(pemBlocks(`-----BEGIN A-----\nb25l\n${block('A', 'two')}`).map(({ bytes }) => bytes.toString())).toEqual([
    'two',
  ]);
});

test('only certificates are certificates', () => {
  const one = block('CERTIFICATE', 'one');
  expect(pemCertificates(`${block('EC PRIVATE KEY', 'k')}${one}${one}`)).toEqual([one.trim(), one.trim()]);
});

test('what was written is read, whatever bytes it is of', () => {
  const random = seededRandom(3);
  for (let i = 0; i < 200; i++) {
    const bytes = random.bytes(1 + (random.uint32() % 300));
    const [read] = pemBlocks(`${Buffer.from(random.bytes(20)).toString('latin1')}\n${block('X', bytes)}`);
    expect(read?.bytes).toEqual(Buffer.from(bytes));
  }
});

test('a text of nothing but beginnings takes no longer than it is long', () => {
  // Looking from each of them for its end would be 10¹¹ steps.
  expect(pemBlocks('-----BEGIN A-----\n'.repeat(160_000))).toEqual([]);
});
