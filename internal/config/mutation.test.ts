import { describe, expect, test } from 'vitest';
import { type Random, seededRandom } from '../base/random.ts';
import { type ConfigProblem, evaluate, problemText } from './load.ts';

/** A valid file is damaged at random: whatever comes out is accepted, or refused with a message that has a place. */

const valid = `# a node
node:
  name: pi-1
  ip: 192.168.1.10
  labels: {disk: ssd, example.com/rack: r1}
  taints:
    - dedicated=storage:NoSchedule
roles: [server, agent, mon, mgr, osd]
dataDir: /var/lib/appliance
runDir: /run/appliance
logLevel: info
tlsSans: [cluster.example.com, 203.0.113.7]
writeKubeconfigMode: "0640"
cluster:
  podCIDR: 10.42.0.0/16
  serviceCIDR: 10.43.0.0/16
  dnsIP: 10.43.0.10
  domain: cluster.local
  serviceNodePortRange: 30000-32767
ports: {api: 6443, kubelet: 10250, mon: 3300, ceph: 6800, dns: 10053, prometheus: 9283, etcd: 2379}
containerd:
  command: containerd
  cniBinDirs:
    - /usr/lib/cni
    - /opt/cni/bin
storage:
  replication: 2
  failureDomain: osd
  osd:
    - {id: 0, file: /var/lib/appliance/osd/osd.0.img, size: 20Gi}
    - {id: 1, device: /dev/sda1}
    - {id: 2, serial: "S3Z9NB0K", partition: 2}
    - {id: 3, directory: /mnt/disk}
`;
const facts = { hostname: 'n', ip: '10.0.0.1', freeBytes: 1e12 };
const rounds = Number(process.env.FUZZ_ROUNDS ?? (process.env.CI ? 200 : 1000));
const seed = Number(process.env.FUZZ_SEED ?? 1);

const pick = <T>(random: Random, of: readonly T[]): T => of[random.uint32() % of.length]!;
const words = [
  ...[
    'x',
    '0',
    '-1',
    '1e99',
    '0x10',
    '~',
    'null',
    'true',
    '""',
    "'",
    '"',
    '[]',
    '{}',
    '[',
    '}',
    '&a',
    '*a',
    '!!int',
    '|',
    '>',
    '#',
  ],
  ...[
    'roles',
    'storage',
    '__proto__',
    'constructor',
    '10.0.0.0/8',
    '999.1.1.1',
    '/etc',
    '../x',
    '\u0000',
    '\t',
    '\r',
    '\uFEFF',
    '---',
    '<<',
  ],
];

/** Ways to damage a text: by characters, by lines, by words. */
const damages: readonly ((text: string, random: Random) => string)[] = [
  (text, random) => {
    const at = random.uint32() % text.length;
    return text.slice(0, at) + String.fromCharCode(random.uint32() % 256) + text.slice(at + 1);
  },
  (text, random) => text.slice(0, random.uint32() % text.length),
  (text, random) => {
    const at = random.uint32() % text.length;
    return text.slice(0, at) + pick(random, words) + text.slice(at);
  },
  (text, random) => {
    const lines = text.split('\n');
    lines.splice(random.uint32() % lines.length, 1 + (random.uint32() % 3));
    return lines.join('\n');
  },
  (text, random) => {
    const lines = text.split('\n');
    lines.splice(random.uint32() % lines.length, 0, pick(random, lines));
    return lines.join('\n');
  },
  (text, random) => {
    const lines = text.split('\n');
    const at = random.uint32() % lines.length;
    lines[at] = `${' '.repeat(random.uint32() % 6)}${lines[at]!.trim()}`;
    return lines.join('\n');
  },
  (text, random) => {
    const found = [...text.matchAll(/[\w./-]+/g)];
    const { index, 0: old } = pick(random, found);
    return text.slice(0, index) + pick(random, words) + text.slice(index + old.length);
  },
  (text, random) => {
    const found = [...text.matchAll(/[\w./-]+/g)];
    const [a, b] = [pick(random, found), pick(random, found)];
    return text.slice(0, a.index) + b[0] + text.slice(a.index + a[0].length);
  },
];

/** Sentences of the validator or of the engine that people must not see. */
const raw =
  /Invalid (input|option|string|type|key)|Too (big|small)|Unrecognized|undefined|\[object|ZodError|RangeError|TypeError|\n\s+at /;

function judge(text: string, problems: readonly ConfigProblem[]): void {
  const lines = text.split('\n').length;
  for (const problem of problems) {
    const message = problemText(problem);
    expect(message, text).not.toMatch(raw);
    expect(message.length, text).toBeLessThan(1000);
    if (problem.origin.from !== 'file') throw new Error(`no place: ${message}\n${text}`);
    expect(problem.origin.line, text).toBeLessThanOrEqual(lines);
    expect(message).toMatch(/^appliance\.yaml:\d+:\d+: .+/s);
  }
}

describe('config: mutations of a valid file', () => {
  test('it is valid', () => {
    expect(evaluate([{ kind: 'file', file: 'appliance.yaml', text: valid }], facts).problems).toEqual([]);
  });

  test(`fuzz: ${rounds} damaged files are accepted, or refused with a place and in plain words`, () => {
    let refused = 0;
    for (let round = 0; round < rounds; round++) {
      const random = seededRandom(seed * 1_000_003 + round);
      let text = valid;
      for (let count = 1 + (random.uint32() % 3); count > 0 && text.length > 0; count--)
        text = pick(random, damages)(text, random);
      let problems: readonly ConfigProblem[];
      try {
        problems = evaluate([{ kind: 'file', file: 'appliance.yaml', text }], facts).problems;
      } catch (cause) {
        throw new Error(`round ${round} of seed ${seed}: ${JSON.stringify(text)}`, { cause });
      }
      if (problems.length > 0) refused++;
      judge(text, problems);
    }
    // Neither is everything let through nor everything refused.
    expect(refused).toBeGreaterThan(rounds / 4);
    expect(refused).toBeLessThan(rounds);
  });

  test.each([
    ['brackets without end', '['.repeat(65_000)],
    ['maps in maps', 'a: '.repeat(21_000)],
    ['lists in lists', '- '.repeat(32_000)],
    ['keys of keys', '? '.repeat(32_000)],
    ['bad escapes', `"${'\\x'.repeat(32_000)}`],
    ['anchors', '&a '.repeat(21_000)],
    [
      'aliases of aliases',
      Array.from({ length: 40 }, (_, i) => `a${i}: &a${i} [${`*a${i - 1},`.repeat(i > 0 ? 9 : 0)}1]\n`).join(''),
    ],
    [
      'aliases in a value',
      `x: &x [1,1,1,1,1,1,1,1,1]\n${Array.from({ length: 30 }, (_, i) => `y${i}: &y${i} [${`*${i ? `y${i - 1}` : 'x'},`.repeat(9)}]\n`).join('')}tlsSans: *y29\n`,
    ],
    ['a list that contains itself', 'storage: {osd: &a [*a]}'],
    ['many unknown keys', Array.from({ length: 5000 }, (_, i) => `k${i}: 1`).join('\n')],
    ['too long', `# ${'x'.repeat(70_000)}`],
  ])('%s: refused with places', (_name, text) => {
    const { problems } = evaluate([{ kind: 'file', file: 'appliance.yaml', text }], facts);
    expect(problems.length).toBeGreaterThan(0);
    judge(text, problems);
  });
});
