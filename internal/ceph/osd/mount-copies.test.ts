import { expect, test } from 'vitest';
import { parseMountInfo } from '../../base/mountinfo.ts';
import { volumeMounts } from './mount-copies-system.ts';

test('an OSD lets go of volumes and of nothing else', () => {
  const targets = [
    '/',
    '/data/agent',
    '/data/agent/csi/d/1/pool',
    '/data/agent/plugins/kubernetes.io/csi/d/1/globalmount',
    '/data/agent/containerd/sandboxes/1/shm',
    '/data/instances/osd.0/disk',
    '/other/agent/pods/1/volumes/kubernetes.io~csi/data/mount',
    '/disk',
  ];
  const mounts = parseMountInfo(targets.map((t, i) => `${i} 1 7:${i} / ${t} rw - ext4 /dev/loop${i} rw`).join('\n'));
  expect(volumeMounts(mounts, ['/data/agent'])).toEqual([targets[6], targets[4], targets[3], targets[2]]);
});
