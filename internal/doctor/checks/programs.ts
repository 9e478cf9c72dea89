import type { Config } from '../../config/config.ts';
import { type Check, fail, type Finding, ok, warn } from '../check.ts';

/** A program of the system that some role cannot do without. */
export interface NeededProgram {
  readonly name: string;
  /** The Debian package that has it. */
  readonly from: string;
  /** The least version, and how to ask for it. */
  readonly least?: readonly [major: number, minor: number];
  readonly versionArguments?: readonly string[];
  /** Only instead of something that the kernel may have. */
  readonly fallback?: true;
}

/** What a node with this configuration runs. */
export function neededPrograms(config: Config): NeededProgram[] {
  const all: NeededProgram[] = [
    { name: 'setpriv', from: 'util-linux' },
    { name: 'setsid', from: 'util-linux' },
    { name: 'useradd', from: 'passwd' },
  ];
  if (config.roles.includes('agent'))
    all.push(
      { name: config.containerd.command, from: 'containerd', least: [1, 6], versionArguments: ['--version'] },
      { name: 'runc', from: 'runc', least: [1, 1], versionArguments: ['--version'] },
      { name: 'nft', from: 'nftables', least: [1, 0], versionArguments: ['--version'] },
      { name: 'ip', from: 'iproute2', versionArguments: ['-V'] },
      { name: 'bridge', from: 'iproute2' },
      { name: 'rbd-fuse', from: 'rbd-fuse', fallback: true },
    );
  if (config.storage.engine === 'ceph') {
    for (const role of config.roles)
      if (role === 'rgw') all.push({ name: 'radosgw', from: 'radosgw' });
      else if (role === 'mon' || role === 'mgr' || role === 'osd' || role === 'mds')
        all.push({ name: `ceph-${role}`, from: `ceph-${role}` });
    if (config.roles.includes('mon')) all.push({ name: 'monmaptool', from: 'ceph-base' });
    if (config.roles.some((role) => role !== 'server' && role !== 'agent'))
      all.push({ name: 'ceph', from: 'ceph-common' });
  }
  if (config.storage.engine === 'embedded' && config.storage.osd.some((osd) => !('directory' in osd)))
    all.push({ name: 'mkfs.ext4', from: 'e2fsprogs' }, { name: 'unshare', from: 'util-linux' });
  return all;
}

export const neededPlugins = ['bridge', 'host-local', 'loopback'] as const;

/** The first `major.minor` in a version line. */
export function versionIn(text: string): [number, number] | undefined {
  const match = /(?:^|[^0-9.])v?(\d{1,5})\.(\d{1,5})/.exec(text);
  return match ? [Number(match[1]), Number(match[2])] : undefined;
}

const programs: Check = {
  id: 'programs',
  title: 'programs',
  why: 'Containers, firewall rules and file systems are made with them.',
  needs: ['programs'],
  blocking: true,
  evaluate({ programs: found }, config) {
    const needed = neededPrograms(config);
    const pathOf = (name: string) => found.find((one) => one.name === name)?.path;
    const missing = needed.filter(({ fallback, name }) => !fallback && pathOf(name) === undefined);
    const findings: Finding[] = [];
    if (missing.length > 0)
      findings.push(
        fail(
          `not found on PATH: ${missing.map(({ name }) => name).join(', ')}`,
          `on Debian: apt-get install ${[...new Set(missing.map(({ from }) => from))].join(' ')}`,
        ),
      );
    const words: string[] = [];
    for (const { from, least, name } of needed) {
      const text = found.find((one) => one.name === name)?.version ?? '';
      if (!least || pathOf(name) === undefined) continue;
      const version = versionIn(text);
      if (!version) continue;
      words.push(`${name} ${version.join('.')}`);
      if (version[0] < least[0] || (version[0] === least[0] && version[1] < least[1]))
        findings.push(
          warn(`${name} ${version.join('.')} is older than ${least.join('.')}`, `upgrade the package ${from}`),
        );
    }
    return findings.length > 0 ? findings : ok(words.join(', ') || 'all there');
  },
};

const plugins: Check = {
  id: 'cni-plugins',
  title: 'CNI plug-ins',
  why: 'containerd connects pods to the network with them.',
  needs: ['cniPlugins'],
  blocking: true,
  concerns: ({ cluster, roles }) => roles.includes('agent') && cluster.networkBackend !== 'none',
  evaluate({ cniPlugins }, config) {
    const where = config.containerd.cniBinDirs.find((dir) => cniPlugins[dir]?.includes('bridge'));
    const missing = neededPlugins.filter((name) => where === undefined || !cniPlugins[where]?.includes(name));
    return missing.length === 0
      ? ok(`in ${where}`)
      : fail(
          `no ${missing.join(', ')} in ${where ?? config.containerd.cniBinDirs.join(' or ')}`,
          'on Debian: apt-get install containernetworking-plugins',
        );
  },
};

export const programChecks: readonly Check[] = [programs, plugins];
