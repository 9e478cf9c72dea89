import { expect, test } from 'vitest';
import { isRoleOf } from './strays.ts';

const place = { runDir: '/run/appliance', agent: '/var/lib/appliance/agent', containerd: 'containerd' };
const config = '/run/appliance/roles/osd.0/config.json';
const containerdConfig = '/var/lib/appliance/agent/containerd.toml';

test.each([
  ['a role of the executable', ['/usr/local/bin/appliance', 'role', 'osd.0', config]],
  ['a role from the source', ['bun', '/src/cmd/appliance/main.ts', 'role', 'osd.0', config]],
  [
    'a role that is being started',
    ['setpriv', '--pdeathsig', 'KILL', '/usr/local/bin/appliance', 'role', 'osd.0', config],
  ],
  ['containerd', ['/usr/bin/containerd', '--config', containerdConfig]],
  ['an OSD of the distribution’s Ceph', ['ceph-osd', '-f', '-i', '0', '-c', `${place.runDir}/roles/osd.0/ceph.conf`]],
])('%s that its supervisor left behind is ended', (_who, argv) => {
  expect(isRoleOf(argv, place)).toBe(true);
});

test.each([
  ['somebody who reads its configuration', ['less', config]],
  ['an editor of several files', ['vi', '-R', config, config]],
  ['a role of another node', ['/usr/local/bin/appliance', 'role', 'osd.0', '/run/node-2/roles/osd.0/config.json']],
  ['a search for the word role', ['grep', 'role', config]],
  ['another containerd', ['/usr/bin/containerd', '--config', '/etc/containerd/config.toml']],
  [
    'a containerd of a directory with a longer name',
    ['containerd', '--config', '/var/lib/appliance/agent2/containerd.toml'],
  ],
  ['somebody who reads of containerd', ['tail', '-f', containerdConfig]],
  ['another Ceph’s OSD', ['ceph-osd', '-f', '-i', '0', '-c', '/etc/ceph/ceph.conf']],
  ['a client with an OSD’s configuration', ['ceph', '-s', '-c', `${place.runDir}/roles/osd.0/ceph.conf`]],
  ['a thread of the kernel', []],
])('%s is left alone', (_who, argv) => {
  expect(isRoleOf(argv, place)).toBe(false);
});
