import { expect, test } from 'vitest';
import { standardConfig } from '../../internal/node/standard-config.testing.ts';
import { report } from './status-report.ts';
import { upScreen } from './up-screen.ts';

const reportOf = (api: string | undefined) => ({
  ...report({
    configured: { name: 'n1', roles: [] },
    api,
    supervisor: undefined,
    kubernetes: undefined,
    storage: undefined,
  }),
  ok: true,
  ready: true,
  sentences: ['All is well.'],
});
const seconds = 12.34;

test('the first node: both addresses, and what to type next', () => {
  const text = upScreen({
    config: standardConfig('runDir: /run/x'),
    program: 'appliance',
    report: reportOf('https://10.0.0.1:6443'),
    seconds,
  });
  expect(text.split('\n')).toEqual([
    '',
    'Ready after 12.3 s.',
    '  All is well.',
    '',
    '  Kubernetes API   https://10.0.0.1:6443',
    '  Ceph monitor     v2:10.0.0.1:3300',
    '',
    'Next, in another terminal:',
    '  export KUBECONFIG=/etc/appliance/kubeconfig CEPH_CONF=/var/lib/appliance/ceph/ceph.conf',
    '  kubectl get nodes,pods -A -o wide',
    '  kubectl apply -f examples/counter.yaml && kubectl -n counter rollout status statefulset/counter',
    '  ceph -s',
    '  appliance --run-dir /run/x token create     # prints what other machines join with',
    '  appliance --run-dir /run/x status',
    '',
    'Ctrl-C here, or `appliance --run-dir /run/x down`, stops everything and keeps the data.',
    '',
  ]);
});

test('a node that joined as an agent: the API of its cluster, one empty line between the parts', () => {
  const config = { ...standardConfig(), roles: ['agent'] as const };
  const joined = { config, program: './appliance', seconds };
  expect(upScreen({ ...joined, report: reportOf('https://10.0.0.9:6443') }).split('\n')).toEqual([
    '',
    'Ready after 12.3 s.',
    '  All is well.',
    '',
    '  Kubernetes API   https://10.0.0.9:6443, a server of the cluster',
    '',
    'Next, in another terminal:',
    '  ./appliance status',
    '',
    'Ctrl-C here, or `./appliance down`, stops everything and keeps the data.',
    '',
  ]);
  const unknown = upScreen({ ...joined, report: undefined });
  expect(unknown).toContain(
    'Not ready after 12 s; it goes on in the background of this screen:\n  nothing answers yet\n\nNext',
  );
});

test('a node of a named configuration is called by its file', () => {
  const config = standardConfig('runDir: /run/x');
  const text = upScreen({ config, program: 'appliance', file: 'my.yaml', report: undefined, seconds });
  expect(text).toContain('\n  appliance -c my.yaml status\n');
  expect(text).toContain('or `appliance -c my.yaml down`');
  expect(text).not.toContain('--run-dir');
});

test('sentences are broken between words at the width of the terminal', () => {
  const report = { ...reportOf(undefined), sentences: ['one two three four'] };
  const text = upScreen({ config: standardConfig(), program: 'appliance', report, seconds, width: 16 });
  expect(text).toContain('\n  one two three\n    four\n');
});
