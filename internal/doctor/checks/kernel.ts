import type { Config } from '../../config/config.ts';
import { type Check, fail, type Finding, ok, unknown, warn } from '../check.ts';
import { isUnknown, type ModuleState } from '../facts.ts';

const agent = (config: Config): boolean => config.roles.includes('agent');

const memoryWords = 'cgroup_enable=memory cgroup_memory=1';

const memoryCgroup: Check = {
  id: 'memory-cgroup',
  title: 'memory cgroup',
  why: 'Without it no container has a memory limit, and one that leaks takes the whole machine down.',
  needs: ['cgroups', 'machine'],
  concerns: agent,
  evaluate({ cgroups, machine }) {
    if (isUnknown(cgroups)) return unknown(`not known: ${cgroups.unknown}`);
    if (cgroups.controllers.includes('memory')) return ok('enabled');
    const file = machine.commandLineFile;
    return fail(
      'the kernel was started without the memory controller',
      file === undefined
        ? `add \`${memoryWords}\` to the kernel command line of the boot loader and reboot`
        : `append \` ${memoryWords}\` to the one line of ${file} (no second line) and reboot: sed -i '1 s/$/ ${memoryWords}/' ${file}`,
    );
  },
};

const cgroupVersion: Check = {
  id: 'cgroup-version',
  title: 'cgroup version',
  why: 'Version 2 counts memory and pressure as Kubernetes expects today; version 1 works but is on its way out.',
  needs: ['cgroups', 'machine'],
  concerns: agent,
  evaluate({ cgroups, machine }) {
    if (isUnknown(cgroups)) return unknown(`not known: ${cgroups.unknown}`);
    if (cgroups.version === 2) return ok(`version 2 with ${cgroups.controllers.join(', ')}`);
    if (cgroups.version === 'none')
      return fail('no cgroup file system is mounted', 'mount -t cgroup2 none /sys/fs/cgroup');
    const missing = ['cpu', 'pids'].filter((name) => !cgroups.controllers.includes(name));
    if (missing.length > 0) return fail(`version 1 without ${missing.join(', ')}`, 'use a kernel that has them');
    const where = machine.commandLineFile ?? 'the kernel command line';
    return warn(
      `${cgroups.version === 1 ? 'version 1' : 'versions 1 and 2 side by side'}: pods run with version 1`,
      `systemd.unified_cgroup_hierarchy=1 in ${where} and a reboot switch to version 2`,
    );
  },
};

interface ModuleRow {
  readonly name: string;
  /** What it is for. */
  readonly use: string;
  /** What is done without it; undefined when there is no other way. */
  readonly fallback?: string;
  /** The program that the fallback needs, and the Debian package that has it. */
  readonly fallbackProgram?: { readonly name: string; readonly from: string };
  readonly needed: (config: Config) => boolean;
  /** Nothing of this version uses it. */
  readonly unused?: true;
}

const tunnel = (config: Config): boolean =>
  agent(config) && (config.cluster.networkBackend === 'vxlan' || config.cluster.networkBackend === 'auto');

/** Every kernel feature that something here uses. */
export const moduleRows: readonly ModuleRow[] = [
  { name: 'overlay', use: "containers' file systems", needed: agent },
  { name: 'bridge', use: "the pods' network", needed: agent },
  { name: 'veth', use: "the pods' interfaces", needed: agent },
  { name: 'nf_tables', use: 'services, masquerading, host ports', needed: agent },
  {
    name: 'br_netfilter',
    use: 'services between pods of one node',
    needed: agent,
    fallback: 'connections between pods of this node over a service are masqueraded: backends see the node',
  },
  {
    name: 'vxlan',
    use: 'the tunnel to pods of other nodes',
    needed: tunnel,
    fallback: 'plain routes: other nodes must be on the same link',
  },
  {
    name: 'rbd',
    use: 'block volumes by the kernel',
    needed: agent,
    fallback: 'rbd-fuse and a loop device: slower',
    fallbackProgram: { name: 'rbd-fuse', from: 'rbd-fuse' },
  },
  // Of no use to this version, which has no CephFS: shown, and no fault when it is missing.
  { name: 'ceph', use: 'CephFS by the kernel', needed: agent, unused: true },
  { name: 'fuse', use: 'volumes where the kernel has no rbd', needed: agent },
  {
    name: 'loop',
    use: 'OSDs in files, volumes by rbd-fuse',
    needed: (config) => agent(config) || config.storage.osd.some((osd) => 'file' in osd),
  },
];

function moduleFix(name: string, kernel: string, model: string): string {
  if (/raspi/.test(kernel) || (/Raspberry/.test(model) && name === 'vxlan'))
    return `apt-get install linux-modules-extra-raspi (Ubuntu), or a kernel with ${name}; then modprobe ${name}`;
  return `modprobe ${name}; where that says "not found", use a kernel that has it`;
}

const modules: Check = {
  id: 'kernel-modules',
  title: 'kernel features',
  why: 'Pods, their network and their volumes are made of them.',
  needs: ['modules', 'machine', 'programs'],
  evaluate({ machine, modules: states, programs }, config) {
    if (isUnknown(states)) return unknown(`not known: ${states.unknown}`);
    const rows = moduleRows.filter((row) => row.needed(config));
    const state = (name: string): ModuleState => states[name] ?? 'missing';
    const there = rows.filter(({ name }) => state(name) !== 'missing');
    const problems = rows
      .filter(({ name, unused }) => state(name) === 'missing' && !unused)
      .map(({ fallback, fallbackProgram: program, name, use }): Finding => {
        const own = moduleFix(name, machine.kernel, machine.model);
        if (fallback === undefined) return fail(`${name} (${use}) is missing`, own);
        if (program && !programs.some((one) => one.name === program.name && one.path !== undefined))
          return fail(
            `${name} (${use}) is missing, and so is ${program.name}, which would do instead`,
            `apt-get install ${program.from}; or ${own}`,
          );
        return warn(`${name} (${use}) is missing; instead: ${fallback}`, own);
      });
    // Found as a file and not loaded yet: most load by themselves, br_netfilter does not.
    const waiting = there.filter(({ name }) => name === 'br_netfilter' && state(name) === 'loadable');
    return [
      ...problems,
      ...waiting.map(({ name }) =>
        warn(`${name} is not loaded yet; a node loads it when it starts`, `modprobe ${name}`, {
          do: 'modprobe',
          module: name,
        }),
      ),
      ok(
        rows
          .filter(({ name, unused }) => unused || state(name) !== 'missing')
          .map(({ name, unused }) => `${name} ${state(name)}${unused ? ' (not used by this version)' : ''}`)
          .join(', ') || 'none needed',
      ),
    ];
  },
};

interface SysctlRow {
  readonly name: string;
  readonly least: number;
  readonly why: string;
}

const sysctlRows: readonly SysctlRow[] = [
  { name: 'net.ipv4.ip_forward', least: 1, why: 'packets of pods are not forwarded' },
  { name: 'net.bridge.bridge-nf-call-iptables', least: 1, why: 'services between pods of this node do not work' },
  { name: 'fs.inotify.max_user_instances', least: 512, why: 'programs in pods end with "too many open files"' },
  { name: 'fs.inotify.max_user_watches', least: 65_536, why: 'programs in pods end with "no space left on device"' },
];

const sysctls: Check = {
  id: 'sysctls',
  title: 'kernel settings',
  why: 'Forwarding makes the pod network; the default limits of inotify are too small for many pods.',
  needs: ['sysctls', 'running'],
  concerns: agent,
  evaluate({ running, sysctls: values }) {
    const findings: Finding[] = [];
    const good: string[] = [];
    for (const { least, name, why } of sysctlRows) {
      const value = values[name];
      if (value === undefined) continue;
      const net = name.startsWith('net.');
      if (Number(value) >= least) good.push(`${name} ${value}`);
      // A node makes those of the network itself when it starts: only while it runs did somebody else undo them.
      else if (net && !running) good.push(`${name} ${value} (set at start)`);
      else
        findings.push(
          (net ? fail : warn)(
            `${name} is ${value}, less than ${least}: ${why}`,
            `sysctl -w ${name}=${least} && echo ${name}=${least} >> /etc/sysctl.d/90-appliance.conf`,
            { do: 'sysctl', name, value: String(least) },
          ),
        );
    }
    return [...findings, ok(good.join(', ') || 'nothing else')];
  },
};

export const kernelChecks: readonly Check[] = [memoryCgroup, cgroupVersion, modules, sysctls];
