import { readFileSync, statfsSync } from 'node:fs';
import { arch, cpus, hostname, release, totalmem } from 'node:os';
import type { NodeFacts } from './node-status.ts';

function text(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

function field(path: string, name: string): number | undefined {
  const match = new RegExp(`^${name}:?\\s+(\\d+)`, 'm').exec(text(path));
  return match ? Number(match[1]) : undefined;
}

function osImage(): string {
  const match = /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(text('/etc/os-release'));
  return match?.[1] ?? 'Linux';
}

/** What the machine says about itself now. `dataDir` is on the file system that pods' data is on. */
export function nodeFacts(dataDir: string): NodeFacts {
  const disk = statfsSync(dataDir);
  const available = field('/proc/meminfo', 'MemAvailable');
  return {
    hostname: hostname(),
    architecture: arch() === 'x64' ? 'amd64' : arch(),
    cpus: Math.max(1, cpus().length),
    memoryBytes: totalmem(),
    memoryAvailableBytes: (available ?? 0) * 1024,
    diskBytes: disk.blocks * disk.bsize,
    diskAvailableBytes: disk.bavail * disk.bsize,
    diskInodes: disk.files,
    diskInodesFree: disk.ffree,
    pidMax: Number(text('/proc/sys/kernel/pid_max')) || 32_768,
    processes: Number(/\/(\d+)/.exec(text('/proc/loadavg'))?.[1] ?? 0),
    machineId: text('/etc/machine-id'),
    systemUuid: text('/sys/class/dmi/id/product_uuid') || text('/etc/machine-id'),
    bootId: text('/proc/sys/kernel/random/boot_id'),
    kernelVersion: release(),
    osImage: osImage(),
  };
}
