import { sizeWords } from '../../base/words.ts';
import { type Check, fail, type Finding, ok, unknown, warn } from '../check.ts';
import { isUnknown } from '../facts.ts';
import type { Config } from '../../config/config.ts';

const mebibyte = 2 ** 20;

/** Rough need of each role at rest in MiB, for the sum to be compared with the machine's memory. */
const roleNeeds: Readonly<Record<Config['roles'][number], number>> = {
  server: 130,
  agent: 130,
  mon: 40,
  mgr: 30,
  osd: 0,
  mds: 30,
  rgw: 100,
};
const osdNeed = 60;
const systemNeed = 150;

const root: Check = {
  id: 'root',
  title: 'started by root',
  why: 'A node mounts, makes network interfaces and runs containers.',
  needs: ['machine'],
  blocking: true,
  evaluate: ({ machine }) =>
    machine.root ? ok('yes') : fail('appliance must be started by root', 'start it with sudo'),
};

const memory: Check = {
  id: 'memory',
  title: 'memory and swap',
  why: 'What does not fit is killed by the kernel, or worn into an SD card by swapping.',
  needs: ['memory'],
  evaluate({ memory: facts }, config) {
    if (isUnknown(facts)) return unknown(`not known: ${facts.unknown}`);
    const { availableBytes, diskSwapBytes, totalBytes, zramBytes } = facts;
    const need =
      config.roles.reduce((sum, role) => sum + roleNeeds[role], systemNeed + config.storage.osd.length * osdNeed) *
      mebibyte;
    const words = `${sizeWords(totalBytes)}, ${sizeWords(availableBytes)} available${zramBytes > 0 ? `, ${sizeWords(zramBytes)} zram` : ''}`;
    const findings: Finding[] = [];
    if (totalBytes < need)
      findings.push(
        warn(
          `${words}: less than the ${sizeWords(need)} that these roles and the system need at rest`,
          'give this node fewer roles or OSDs, or more memory; `apt-get install systemd-zram-generator` makes room by compression',
        ),
      );
    else findings.push(ok(words));
    if (diskSwapBytes > 0)
      findings.push(
        warn(
          `${sizeWords(diskSwapBytes)} of swap on a disk: it wears SD cards and makes a node under pressure answer late`,
          'swapoff -a and remove it from /etc/fstab (Raspberry Pi OS: systemctl disable --now dphys-swapfile); zram instead',
        ),
      );
    return findings;
  },
};

/** Bits of `get_throttled` (Raspberry Pi firmware, `vcgencmd get_throttled`): now, and since boot. */
const throttleBits = [
  { now: 0, since: 16, words: 'under-voltage' },
  { now: 1, since: 17, words: 'the clock is capped' },
  { now: 2, since: 18, words: 'throttled' },
  { now: 3, since: 19, words: 'the soft temperature limit is reached' },
] as const;

const power: Check = {
  id: 'under-voltage',
  title: 'power supply (Raspberry Pi)',
  why: 'Under-voltage corrupts USB disks and SD cards and makes the machine slow.',
  needs: ['throttled'],
  evaluate({ throttled }) {
    if (isUnknown(throttled)) return unknown(`not known: ${throttled.unknown}`);
    if (throttled === undefined) return ok('this machine has no such sensor');
    const has = (bit: number): boolean => ((throttled >>> bit) & 1) === 1;
    const now = throttleBits.filter(({ now: bit }) => has(bit));
    const since = throttleBits.filter(({ now: bit, since: other }) => !has(bit) && has(other));
    const fix =
      'use the official power supply (Pi 4: 5.1 V 3 A, Pi 5: 5.1 V 5 A) and a short cable; a powered hub for USB disks; a heat sink where the temperature is named';
    if (now.some(({ words }) => words === 'under-voltage'))
      return fail(`now: ${now.map(({ words }) => words).join(', ')}`, fix);
    if (now.length > 0) return warn(`now: ${now.map(({ words }) => words).join(', ')}`, fix);
    if (since.length > 0) return warn(`since the last boot: ${since.map(({ words }) => words).join(', ')}`, fix);
    return ok('no under-voltage since the last boot');
  },
};

const cards: Check = {
  id: 'card-life',
  title: 'life of SD cards and eMMC',
  why: 'Flash wears out by writing; a card at its end turns read-only or loses data.',
  needs: ['cards'],
  evaluate({ cards: list }) {
    if (list.length === 0) return ok('none in this machine');
    return list.map(({ device, lifeTenths, preEndOfLife, type }): Finding => {
      if (lifeTenths.length === 0)
        return unknown(
          `${device}: ${type === 'SD' ? 'SD cards do not tell their wear' : 'tells no wear'}`,
          'keep the data directory and OSDs on a USB disk or SSD',
        );
      const used = Math.max(...lifeTenths);
      const words = used >= 11 ? 'past its expected life' : `${(used - 1) * 10}-${used * 10} % of its life used`;
      const text = `${device}: ${words}`;
      const fix = `replace ${device} soon: move the data directory (dataDir) to another disk first`;
      if (used >= 11 || preEndOfLife === 3) return fail(text, fix);
      if (used >= 9 || preEndOfLife === 2) return warn(text, fix);
      return ok(text);
    });
  },
};

const defaultNames = ['localhost', 'raspberrypi', 'debian', 'ubuntu', 'orangepi', 'rock', 'linux'];

const hostName: Check = {
  id: 'host-name',
  title: 'host and node name',
  why: 'A node is known by its name: it must be valid, its own, and stay.',
  needs: ['hostName'],
  evaluate({ hostName: { addresses, name } }, config) {
    const findings: Finding[] = [];
    const set = 'hostnamectl set-hostname pi-1 (or node.name in appliance.yaml), before the node joins a cluster';
    if (!/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/.test(name.split('.')[0]!) || name.split('.')[0]!.length > 63)
      findings.push(
        warn(
          `the host name "${name.slice(0, 80)}" is not a DNS label; the node is called ${config.node.name}`,
          `lower-case letters, digits and "-" only: ${set}`,
        ),
      );
    if (defaultNames.includes(config.node.name))
      findings.push(
        warn(`the node is called ${config.node.name}, as every new machine is: a second one cannot join`, set),
      );
    if (isUnknown(addresses) || addresses.length === 0)
      findings.push(
        warn(
          `the host name ${name} does not resolve${isUnknown(addresses) ? `: ${addresses.unknown}` : ''}`,
          `echo "127.0.1.1 ${name}" >> /etc/hosts`,
        ),
      );
    return findings.length > 0
      ? findings
      : ok(`${config.node.name}; the host name resolves to ${(addresses as readonly string[]).join(', ')}`);
  },
};

export const machineChecks: readonly Check[] = [root, memory, power, cards, hostName];
