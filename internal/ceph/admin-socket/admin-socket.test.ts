import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../base/bytes.ts';
import { seededRandom } from '../../base/random.ts';
import { silentLogger } from '../../base/log.ts';
import { nodePaths } from '../../config/paths.ts';
import { askDaemon } from '../engine/admin-socket-client.ts';
import { type AdminSocket, serveAdminSocket } from './admin-socket-server.ts';
import { type AdminAnswer, answerRequest, framed, RequestReader, requestBytesMax } from './protocol.ts';

const directory = mkdtempSync(`${tmpdir()}/asok-`);
const paths = nodePaths(directory, `${directory}/run`);
const path = paths.adminSocket('osd.3');
let socket: AdminSocket;

const descriptions = '{"cmd000":{"sig":["status"],"help":"how it is"},"cmd001":{"sig":["assert"],"help":""}}';
const daemon = (command: string): AdminAnswer => {
  const given = JSON.parse(command) as { prefix: string; format: string };
  if (given.prefix === 'get_command_descriptions') return { code: 0, status: '', output: descriptions };
  if (given.prefix === 'status') return { code: 0, status: '', output: JSON.stringify(given) };
  return { code: -22, status: `no '${given.prefix}' here`, output: 'and more\n' };
};

beforeAll(async () => {
  socket = await serveAdminSocket({ instance: 'osd.3', paths, log: silentLogger }, daemon);
});
afterAll(async () => {
  await socket.close();
  rmSync(directory, { recursive: true, force: true });
});

/** What comes back for these bytes, in pieces, until the daemon closes. */
function ask(...pieces: readonly string[]): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const client = connect({ path });
    const chunks: Buffer[] = [];
    client.on('data', (chunk: Buffer) => chunks.push(chunk));
    client.on('error', reject);
    client.on('close', () => resolve(Buffer.concat(chunks)));
    for (const piece of pieces) client.write(piece);
  });
}

test('only its owner may open it', () => {
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('a request ends with NUL or a newline, in however many pieces it comes', async () => {
  expect(await askDaemon(path, 'status')).toEqual({ prefix: 'status', format: 'json' });
  const answer = await ask('{"prefix":', ' "status"}', '\n');
  expect([answer.readUInt32BE(0), answer.toString('utf8', 4)]).toEqual([
    answer.length - 4,
    '{"format":"json-pretty","prefix":"status"}',
  ]);
});

test('what is refused says so in the text: there is no other place', () => {
  const { length } = 'ERROR: (22) Invalid argument\nno\nout';
  expect(utf8Text(framed({ code: -22, status: 'no', output: 'out' })).slice(4)).toBe(
    'ERROR: (22) Invalid argument\nno\nout',
  );
  expect(Buffer.from(framed({ code: -22, status: 'no', output: 'out' })).readUInt32BE(0)).toBe(length);
});

test('help is made of what the daemon describes; words alone are a request', async () => {
  const text = (request: string): Promise<string> =>
    answerRequest(request, daemon).then(({ output }) => (typeof output === 'string' ? output : utf8Text(output)));
  expect(JSON.parse(await text('help'))).toEqual({ help: 'list available commands', status: 'how it is' });
  expect(JSON.parse(await text('{"prefix":"get_command_descriptions"}'))).toEqual({
    cmd000: { sig: ['assert'], help: '' },
    cmd001: { sig: ['help'], help: 'list available commands' },
    cmd002: { sig: ['status'], help: 'how it is' },
  });
  expect(await text('0')).toBe('2');
});

test('a request without an end is cut off, and the next one is answered', async () => {
  expect((await ask('x'.repeat(requestBytesMax), 'x')).length).toBe(0);
  expect(await askDaemon(path, 'status')).toMatchObject({ prefix: 'status' });
});

test('any bytes: refused or answered, within the bound', async () => {
  const random = seededRandom(7);
  for (let n = 0; n < 2000; n++) {
    const bytes = random.bytes(1 + Math.floor(random.float() * 200));
    const reader = new RequestReader();
    const text = reader.push(bytes) ?? reader.push(utf8('\0'))!;
    const answer = await answerRequest(text, (command) => {
      expect(() => JSON.parse(command) as unknown).not.toThrow();
      return { code: -22, status: '', output: '' };
    });
    expect(framed(answer).length).toBeLessThan(100);
  }
});

test('a daemon whose socket cannot be made goes on', async () => {
  const far = nodePaths(directory, `${directory}/${'x'.repeat(200)}`);
  await (await serveAdminSocket({ instance: 'osd.4', paths: far, log: silentLogger }, daemon)).close();
});
