/**
 * One member of a store in a process of its own, to be killed: `bun store-member-process.ts <JSON of MemberArguments>`. Takes a request a line on
 * standard input, `{id, op, key, value, …}`, and answers `{id, …}` on standard output.
 */
import { readFileSync } from 'node:fs';
import { utf8, utf8Text } from '../../internal/base/bytes.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { errorCode, errorText } from '../../internal/base/errors.ts';
import { systemClock, systemLogger, systemRandom } from '../../internal/base/system.ts';
import { connectPeers } from '../../internal/store/peers-transport.ts';
import { openStore } from '../../internal/store/store.ts';

export interface MemberArguments {
  dir: string;
  name: string;
  port: number;
  pki: string;
  join?: { clusterId: string; memberId: string };
}

interface Request {
  id: number;
  op: 'put' | 'get' | 'add' | 'status';
  key: string;
  value: string;
}

const args = JSON.parse(process.argv[2]!) as MemberArguments;
const log = systemLogger({ value: process.env.STORE_LOG === '1' ? 'info' : 'error' });
const pem = (name: string): string => readFileSync(`${args.pki}/${name}`, 'utf8');
const store = await openStore({
  dir: args.dir,
  disk: systemDisk,
  clock: systemClock,
  random: systemRandom,
  log,
  segmentBytes: 1 << 20,
  checkpointBytes: 1 << 19,
  flushAfterMs: 500,
  member: { name: args.name, peerUrls: [`https://127.0.0.1:${args.port}`], clientUrls: [] },
  ...(args.join && {
    join: { clusterId: BigInt(`0x${args.join.clusterId}`), memberId: BigInt(`0x${args.join.memberId}`) },
  }),
  connect: connectPeers({
    host: '127.0.0.1',
    port: args.port,
    tls: () => ({ cert: pem('peer.crt'), key: pem('peer.key'), ca: pem('ca.crt') }),
    clock: systemClock,
    log,
  }).connect,
});

async function handle({ op, key, value }: Request): Promise<object> {
  if (op === 'put') return { revision: (await store.put({ key: utf8(key), value: utf8(value) })).revision };
  if (op === 'get') {
    const { kvs, revision } = await store.range({ key: utf8(key) });
    return { revision, value: kvs[0] === undefined ? null : utf8Text(kvs[0].value) };
  }
  const { cluster } = store;
  if (op === 'add') {
    const { id } = await cluster.addMember([value], true);
    return { clusterId: cluster.clusterId.toString(16), memberId: id.toString(16) };
  }
  return {
    voters: cluster.members().filter(({ learner }) => !learner).length,
    leads: cluster.leaderId === cluster.memberId,
    leader: cluster.leaderId.toString(16),
  };
}

function answer(id: number, value: object): void {
  process.stdout.write(`${JSON.stringify({ id, ...value })}\n`);
}

answer(0, { open: true });
for await (const line of console) {
  const request = JSON.parse(line) as Request;
  handle(request).then(
    (value) => answer(request.id, value),
    (error: unknown) => answer(request.id, { error: errorText(error), code: errorCode(error) }),
  );
}
await store.close();
process.exit(0);
