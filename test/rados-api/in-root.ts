import type { TestNode } from '../e2e/harness.ts';

/** The command line that runs `argv` in the root directory `root`, in the node's network, with the node's ceph.conf. */
export function inRoot(
  root: string,
  node: TestNode,
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string[] {
  const script = [
    'mount -t proc proc "$ROOT/proc"',
    'mount --rbind /dev "$ROOT/dev"',
    'mkdir -p "$ROOT$NODE"',
    'mount --bind "$NODE" "$ROOT$NODE"',
    'cd /',
    'exec chroot "$ROOT" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/root LC_ALL=C.UTF-8 CEPH_CONF="$CONF" "$@"',
  ].join(' && ');
  const where = ['env', `ROOT=${root}`, `NODE=${node.directory}`, `CONF=${node.cephConf}`];
  const inside = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  return node.inside(
    ...where,
    ...['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh'],
    ...inside,
    ...argv,
  );
}
