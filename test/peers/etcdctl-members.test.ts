import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../e2e/harness.ts';
import { type Certificates, etcdctlOf, makeCertificates, type OwnMember, startMembers } from './etcd-peer.ts';

/** Debian's etcdctl against stores of one and of three members. */

const directory = mkdtempSync(join(tmpdir(), 'etcdctl-members-'));
let certificates: Certificates;
let one: Awaited<ReturnType<typeof startMembers>>;
let three: Awaited<ReturnType<typeof startMembers>>;

beforeAll(async () => {
  certificates = await makeCertificates(directory);
  one = await startMembers(join(directory, 'one'), certificates, 1);
  three = await startMembers(join(directory, 'three'), certificates, 3);
}, 120_000);
afterAll(async () => {
  await one.close();
  await three.close();
  rmSync(directory, { recursive: true, force: true });
}, 60_000);

const groups = () => [one, three];
const only = (member: OwnMember) => etcdctlOf(certificates, member.port);

async function must(etcdctl: (typeof one)['etcdctl'], args: string, input?: string): Promise<string> {
  const result = await etcdctl(args.split(' '), input === undefined ? {} : { input });
  expect(result.code, `etcdctl ${args}: ${result.stderr}`).toBe(0);
  return result.stdout;
}

async function json<T>(etcdctl: (typeof one)['etcdctl'], args: string): Promise<T> {
  return JSON.parse(await must(etcdctl, `${args} -w json`)) as T;
}

interface Status {
  Endpoint: string;
  Status: { header: { member_id: number; revision: number }; leader: number; isLearner?: boolean };
}

function leading(): { leader: OwnMember; others: OwnMember[] } {
  const leader = three.members.find(({ store: { cluster } }) => cluster.leaderId === cluster.memberId)!;
  return { leader, others: three.members.filter((member) => member !== leader) };
}

describe('etcdctl against one and three members', { timeout: 300_000 }, () => {
  test('what is written through one member is read, deleted, compared and leased through any other', async () => {
    for (const { members, etcdctl } of groups()) {
      const through = (n: number) => only(members[n % members.length]!);
      await must(through(0), 'put a 1');
      expect(await must(through(1), 'get a --print-value-only')).toBe('1\n');
      expect(await must(through(2), 'txn', 'value("a") = "1"\n\nput a 2\n\nput a no\n\n')).toContain('SUCCESS');
      expect(await must(through(1), 'get a --print-value-only')).toBe('2\n');
      const granted = /lease ([0-9a-f]+) granted/.exec(await must(through(1), 'lease grant 600'))![1]!;
      await must(through(2), `put leased x --lease ${granted}`);
      expect(await must(through(0), `lease timetolive ${granted} --keys`)).toContain('attached keys([leased])');
      expect(await must(through(2), `lease keep-alive --once ${granted}`)).toContain('keepalived with TTL(600)');
      expect(await must(through(1), 'lease list')).toContain(granted);
      await must(through(1), `lease revoke ${granted}`);
      expect(await must(through(2), 'get leased')).toBe('');
      expect(await must(through(2), 'del a')).toBe('1\n');
      expect(await must(etcdctl, 'get a')).toBe('');
    }
  });

  test('a watch through a member that does not lead is told what another one is asked for', async () => {
    for (const { members } of groups()) {
      await must(only(members[0]!), 'put w/0 before');
      const revision = members[0]!.store.revision;
      for (const [n, member] of members.entries()) await must(only(member), `put w/${n} ${n}`);
      for (const member of members) {
        const seen = await only(member)(['watch', 'w/', '--prefix', '--rev', String(revision + 1)], {
          timeoutMs: 6000,
        });
        const values = seen.stdout.split('\n').filter((_, line) => line % 3 === 2);
        expect(values).toEqual(members.map((_, n) => String(n)));
      }
    }
  });

  test('status, health and hashes of every member; they agree', async () => {
    for (const { members, etcdctl } of groups()) {
      await must(etcdctl, 'put last x');
      const list = await json<{ members: { ID: number; name: string; clientURLs: string[] }[] }>(
        etcdctl,
        'member list',
      );
      expect(list.members.map(({ name }) => name).sort()).toEqual(members.map(({ name }) => name));
      const status = await json<Status[]>(etcdctl, 'endpoint status --cluster');
      expect(status.map(({ Endpoint }) => Endpoint).sort()).toEqual(
        members.map(({ port }) => `https://127.0.0.1:${port}`).sort(),
      );
      expect(new Set(status.map(({ Status: { leader } }) => leader)).size).toBe(1);
      expect(status.some(({ Status: { isLearner } }) => isLearner)).toBe(false);
      const health = await json<{ health: boolean }[]>(etcdctl, 'endpoint health --cluster');
      expect(health.map((each) => each.health)).toEqual(members.map(() => true));
      await until('every member has applied everything', 10_000, async () => {
        const revisions = await json<Status[]>(etcdctl, 'endpoint status --cluster');
        return new Set(revisions.map((each) => each.Status.header.revision)).size === 1;
      });
      const hashes = await json<{ HashKV: { hash: number } }[]>(etcdctl, 'endpoint hashkv --cluster');
      expect(hashes.length).toBe(members.length);
      expect(new Set(hashes.map(({ HashKV }) => HashKV.hash)).size).toBe(1);
    }
  });

  test('compaction, defrag of every member, and a snapshot of each', async () => {
    for (const { members, etcdctl } of groups()) {
      for (let i = 0; i < 10; i++) await must(etcdctl, `put many/${i} ${i}`);
      const revision = members[0]!.store.revision;
      expect(await must(etcdctl, `compaction ${revision} --physical`)).toContain(`compacted revision ${revision}`);
      const old = await only(members.at(-1)!)(['get', 'many/0', '--rev', String(revision - 1)]);
      expect(old.stderr).toContain('required revision has been compacted');
      expect((await must(etcdctl, 'defrag --cluster')).match(/Finished defragmenting/g)?.length).toBe(members.length);
      for (const member of members) {
        const file = join(directory, `${members.length}-${member.name}.db`);
        await must(only(member), `snapshot save ${file}`);
        const { revision: saved } = await json<{ revision: number }>(only(member), `snapshot status ${file}`);
        expect(saved).toBeGreaterThanOrEqual(revision);
      }
    }
  });

  test('the lead is moved; the new leader goes on', async () => {
    const { leader, others } = leading();
    const to = others[0]!.store.cluster.memberId.toString(16);
    const asked = await only(others[1]!)(['move-leader', to]);
    expect(asked.code).not.toBe(0);
    expect(asked.stderr).toContain('no leader endpoint given');
    expect(await must(three.etcdctl, `move-leader ${to}`)).toContain('Leadership transferred');
    expect(leader.store.cluster.leaderId).toBe(others[0]!.store.cluster.memberId);
    await must(three.etcdctl, 'put moved x');
  });

  test('a member is added and waits, without a vote, for the machine that has its address; then it is removed', async () => {
    for (const { members, etcdctl } of groups()) {
      const url = 'https://127.0.0.1:1';
      const added = await must(etcdctl, `member add new --peer-urls=${url}`);
      const id = /Member +([0-9a-f]+) added/.exec(added)![1]!;
      const again = await etcdctl(['member', 'add', 'again', `--peer-urls=${url}`]);
      expect(again.stderr).toContain('Peer URLs already exists');
      expect(await must(etcdctl, 'member list')).toMatch(new RegExp(`${id}, unstarted, , ${url}, , true`));
      await must(etcdctl, 'put still writable');
      const promoted = await etcdctl(['member', 'promote', id]);
      expect(promoted.stderr).toContain('can only promote a learner member which is in sync with leader');
      await must(etcdctl, `member update ${id} --peer-urls=https://127.0.0.1:2`);
      await must(etcdctl, `member remove ${id}`);
      await until('it is gone everywhere', 10_000, async () =>
        members.every(({ store }) => store.cluster.members().length === members.length),
      );
    }
  });

  // Whether a machine is fast enough is said, not asserted.
  test('check perf', async () => {
    const results = await Promise.all(
      groups().map(({ etcdctl }) => etcdctl(['check', 'perf', '--load', 's'], { timeoutMs: 150_000 })),
    );
    for (const [n, { stdout, stderr }] of results.entries()) {
      const words = `${stdout}\n${stderr}`.split(/[\r\n]+/).filter((line) => /^(PASS|FAIL)/.test(line.trim()));
      console.log(`check perf, ${groups()[n]!.members.length} member(s): ${words.join('; ')}`);
      expect(words.some((line) => /Throughput|Slowest request|Stddev/.test(line))).toBe(true);
    }
  });
});
