/** Unmodified etcdctl against our store and against Debian's etcd: the same commands, and the same output once ids are taken out. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { restoreStore } from '../../internal/store/restore.ts';
import { type Certificates, type EtcdPeer, makeCertificates, startEtcd, startOurs } from './etcd-peer.ts';

const directory = mkdtempSync(join(tmpdir(), 'etcdctl-'));
let certificates: Certificates;
let ours: EtcdPeer;
let theirs: EtcdPeer;

beforeAll(async () => {
  certificates = await makeCertificates(directory);
  ours = await startOurs(join(directory, 'ours'), certificates);
  theirs = await startEtcd(join(directory, 'etcd'), certificates);
}, 60_000);
afterAll(async () => {
  await ours?.close();
  await theirs?.close();
  rmSync(directory, { recursive: true });
});

/** What a command printed, without what differs from one etcd to the next. `leases` maps the server's ids to names. */
function normal(text: string, peer: EtcdPeer, leases: readonly string[]): string {
  let out = text
    .split('\n')
    .filter((line) => !line.startsWith('{"level"'))
    .join('\n')
    .replaceAll(`127.0.0.1:${peer.port}`, 'SERVER')
    .replace(/"(cluster_id|member_id|ClusterID|MemberID)"\s*:\s*\d+/g, '"$1":ID')
    .replace(/"(raft_term|RaftTerm)"\s*:\s*\d+/g, '"$1":TERM')
    .replace(/took = \S+|took=\S+/g, 'took')
    .replace(/remaining\(\d+s\)/g, 'remaining(Ns)')
    // etcd's own order of a lease's keys is that of a Go map.
    .replace(/attached keys\(\[(.*)\]\)/g, (_, keys: string) => `attached keys ${keys.split(' ').sort().join()}`);
  for (const [i, id] of leases.entries())
    out = out.replaceAll(id, `LEASE${i}`).replaceAll(String(BigInt(`0x${id}`)), `LEASE${i}`);
  return out.trim();
}

interface Step {
  args: string[];
  input?: string;
}

/** Runs one script on both; each line is split at spaces, `$0` is the first lease that was granted. */
async function both(script: readonly (string | Step)[]): Promise<void> {
  const transcripts = [];
  for (const peer of [ours, theirs]) {
    const leases: string[] = [];
    const transcript: string[] = [];
    for (const step of script) {
      const { args, input } = typeof step === 'string' ? { args: step.split(' '), input: undefined } : step;
      const filled = args.map((arg) => arg.replace(/\$(\d)/, (_, n: string) => leases[Number(n)] ?? 'none'));
      const result = await peer.etcdctl(filled, input === undefined ? {} : { input });
      const granted = /lease ([0-9a-f]+) granted/.exec(result.stdout);
      if (granted) leases.push(granted[1]!);
      transcript.push(
        `# etcdctl ${args.join(' ')}\n${normal(`${result.stdout}\n${result.stderr}`, peer, leases)}\nexit ${result.code}`,
      );
    }
    transcripts.push(transcript.join('\n'));
  }
  expect(transcripts[0]).toBe(transcripts[1]);
}

describe('etcdctl 3.4', () => {
  test('put, get, del, txn, compaction, hashkv', async () => {
    await both([
      'put foo one',
      'put foo two --prev-kv -w json',
      'put foo --ignore-value',
      'put none --ignore-value',
      ...['a 3', 'b 1', 'c 2', 'b 9'].map((pair) => `put k/${pair}`),
      'get foo -w json',
      'get foo -w fields',
      'get none',
      'get k/ --prefix',
      'get k/ --prefix --limit 2 -w json',
      'get k/ --prefix --sort-by MODIFY --order DESCEND --keys-only',
      'get k/ --prefix --sort-by VERSION',
      'get k/ --prefix --sort-by VALUE --order ASCEND --print-value-only',
      'get k/ --prefix --sort-by CREATE --order DESCEND --limit 1 -w json',
      'get k/a k/c',
      'get k/b --from-key --keys-only',
      'get foo --rev 2',
      'get foo --rev 99999',
      'get foo --consistency s',
      { args: ['get', ''] },
      'del k/a --prev-kv',
      'del k/ --prefix -w json',
      'del none',
      {
        args: ['txn', '-w', 'json'],
        input: 'mod("foo") > "2"\nvalue("foo") = "two"\n\nput t yes\nget foo\n\nput t no\n\n',
      },
      { args: ['txn'], input: 'create("none") = "0"\n\nput t 1\nput t 2\n\n\n' },
      { args: ['txn'], input: 'version("t") = "5"\n\n\n\ndel t\nget t\n\n' },
      { args: ['txn'], input: 'lease("foo") = 0\n\nget foo\n\n\n' },
      'get t',
      'compaction 5',
      'compaction 5',
      'compaction 99999',
      'get foo --rev 3',
      'get foo --rev 5',
      'endpoint hashkv',
      'endpoint hashkv -w json',
      'endpoint hashkv --rev 9',
      'compaction 12 --physical',
      'endpoint hashkv',
      'endpoint health',
      'get foo -w nonsense',
    ]);
  });

  test('leases', async () => {
    await both([
      'lease grant 300',
      'lease grant 900',
      'lease list',
      { args: ['put', 'leased/1', 'x', '--lease', '$0'] },
      { args: ['put', 'leased/2', 'x', '--lease', '$0'] },
      'put leased/3 x --lease 1234',
      'get leased/1 -w json',
      'lease timetolive $0',
      'lease timetolive $0 --keys',
      'lease timetolive 1234',
      'lease keep-alive --once $0',
      'lease keep-alive --once 1234',
      'lease revoke $0',
      'lease revoke $0',
      'get leased/ --prefix',
      'lease grant 0',
      'lease grant 9000000001',
    ]);
  });

  test('what a cluster of one member answers', async () => {
    await both([
      'alarm list',
      'alarm disarm',
      'move-leader 1234',
      'member remove 1234',
      'member promote 1234',
      'user list',
      'role list',
      'auth enable',
      'defrag',
    ]);
    for (const peer of [ours, theirs]) {
      const list = JSON.parse((await peer.etcdctl(['member', 'list', '-w', 'json'])).stdout) as {
        members: { ID: number; name: string }[];
      };
      expect(list.members.map(({ name }) => name)).toEqual(['default']);
      const [status] = JSON.parse((await peer.etcdctl(['endpoint', 'status', '-w', 'json'])).stdout) as {
        Status: { header: { member_id: number }; leader: number; raftTerm: number; dbSize: number };
      }[];
      expect(status!.Status.leader).toBe(status!.Status.header.member_id);
      expect(status!.Status.raftTerm).toBeGreaterThan(0);
      expect(status!.Status.dbSize).toBeGreaterThan(0);
      expect((await peer.etcdctl(['endpoint', 'status', '-w', 'table'])).stdout).toMatch(/ true \|/);
    }
  });

  test('watch: history with previous values, a prefix, a compacted begin', async () => {
    for (const peer of [ours, theirs]) {
      for (const args of ['put w/a 1', 'put w/a 2', 'put w/b 3', 'del w/a']) await peer.etcdctl(args.split(' '));
    }
    const revisions = await Promise.all(
      [ours, theirs].map(async (peer) => {
        const answer = JSON.parse((await peer.etcdctl(['get', 'w/b', '-w', 'json'])).stdout) as {
          kvs: { mod_revision: number }[];
        };
        return answer.kvs[0]!.mod_revision - 2;
      }),
    );
    const seen = await Promise.all(
      [ours, theirs].map(async (peer, i) => {
        const from = String(revisions[i]);
        const outputs = [];
        for (const [args, input] of [
          [['watch', 'w/', '--prefix', '--rev', from, '--prev-kv'], undefined],
          [['watch', 'w/a', '--rev', from], undefined],
          [['watch', 'w/', '--prefix', '--rev', '1'], undefined],
        ] as const) {
          const result = await peer.etcdctl(args, { timeoutMs: 5000, ...(input !== undefined && { input }) });
          const lines = normal(`${result.stdout}${result.stderr}`, peer, []).split('\n');
          // Two watches of one session are told in no order that either etcd promises.
          outputs.push(input === undefined ? lines : lines.sort());
        }
        return outputs;
      }),
    );
    expect(seen[0]).toEqual(seen[1]);
    expect(seen[0]![0]).toContain('DELETE');
  });

  test('lock and elect', async () => {
    for (const peer of [ours, theirs]) {
      const locked = await peer.etcdctl(['lock', 'mutex', 'echo', 'held']);
      expect([locked.code, locked.stdout.trim()]).toEqual([0, 'held']);
      const elected = await peer.etcdctl(['elect', 'post', 'me'], { timeoutMs: 5000 });
      expect(elected.stdout.split('\n')[1]).toBe('me');
    }
  });

  test('a snapshot of ours is etcd’s: status reads it, etcd starts from it, and ours starts from etcd’s', async () => {
    const file = (name: string): string => join(directory, name);
    for (let i = 0; i < 30; i++) await ours.etcdctl(['put', `snap/${i}`, 'x'.repeat(i * 300)]);
    const hash = JSON.parse((await ours.etcdctl(['endpoint', 'hashkv', '-w', 'json'])).stdout) as {
      HashKV: { hash: number };
    }[];
    expect((await ours.etcdctl(['snapshot', 'save', file('ours.db')])).code).toBe(0);
    const status = JSON.parse((await ours.etcdctl(['snapshot', 'status', file('ours.db'), '-w', 'json'])).stdout) as {
      revision: number;
    };
    expect(status.revision).toBeGreaterThan(30);

    const restored = await ours.etcdctl([
      ...['snapshot', 'restore', file('ours.db'), '--data-dir', file('from-ours')],
      ...['--name', 'default', '--initial-cluster', 'default=http://localhost:2380'],
    ]);
    expect([restored.code, restored.stderr.split('\n').filter((line) => line.startsWith('Error'))]).toEqual([0, []]);
    const etcd = await startEtcd(file('from-ours'), certificates);
    try {
      const again = JSON.parse((await etcd.etcdctl(['endpoint', 'hashkv', '-w', 'json'])).stdout) as typeof hash;
      expect(again[0]!.HashKV.hash).toBe(hash[0]!.HashKV.hash);
      await etcd.etcdctl(['put', 'after', 'restore']);
      expect((await etcd.etcdctl(['snapshot', 'save', file('theirs.db')])).code).toBe(0);
    } finally {
      await etcd.close();
    }
    await restoreStore({ from: file('theirs.db'), dir: file('from-theirs'), disk: systemDisk });
    const back = await startOurs(file('from-theirs'), certificates);
    try {
      expect((await back.etcdctl(['get', 'after'])).stdout).toBe('after\nrestore\n');
      expect((await back.etcdctl(['get', 'snap/29', '--print-value-only'])).stdout.length).toBe(29 * 300 + 1);
    } finally {
      await back.close();
    }

    const damaged = readFileSync(file('ours.db'));
    damaged[damaged.length >> 1]! ^= 1;
    writeFileSync(file('damaged.db'), damaged);
    await expect(
      restoreStore({ from: file('damaged.db'), dir: file('from-damaged'), disk: systemDisk }),
    ).rejects.toThrow('checksum is wrong');
  });

  test('without a certificate, or with one of another authority, nothing is answered', async () => {
    const strangers = mkdtempSync(join(directory, 'strangers-'));
    await makeCertificates(strangers);
    for (const peer of [ours, theirs]) {
      const wrong = ['--cert', join(strangers, 'client.crt'), '--key', join(strangers, 'client.key')];
      const result = await peer.etcdctl(['get', 'foo', '--command-timeout', '3s', ...wrong]);
      expect(result.code).not.toBe(0);
      expect(result.stdout).toBe('');
    }
  });
});
