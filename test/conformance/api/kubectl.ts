/** Unmodified kubectl: the one on PATH, or Debian's (`test/setup/kubectl.sh`). */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { kubeconfig } from '../../../internal/pki/kubeconfig.ts';
import type { Cluster } from './harness.ts';

const root = join(import.meta.dirname, '../../..');

/** `current`: the one on PATH, else Debian 13's (1.32); `1.20`: Debian 12's. */
export type Client = 'current' | '1.20';
export const clients: readonly Client[] = ['current', '1.20'];

function program(client: Client): string {
  if (client === 'current' && spawnSync('kubectl', ['version', '--client']).status === 0) return 'kubectl';
  const debian = client === 'current' ? '13' : '12';
  const file = join(root, `.cache/bin/kubectl-${debian}`);
  if (existsSync(file)) return file;
  const made = spawnSync('sh', ['test/setup/kubectl.sh', '.cache/bin', debian], { cwd: root, encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`no kubectl: ${made.stderr}`);
  return file;
}

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A kubeconfig in `directory` for the administrator, who reaches the cluster at `server`; its path. */
export function writeKubeconfig(directory: string, cluster: Cluster, server = cluster.url): string {
  const file = join(directory, 'kubeconfig');
  const ca = cluster.server.pki.serverCa.cert;
  const text = kubeconfig({ cluster: 'conformance', server, ca, user: 'admin', ...cluster.credentials });
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

export class Kubectl {
  readonly directory = mkdtempSync(`${tmpdir()}/conformance-kubectl-`);
  /** A file with the certificate that the server is known by. */
  readonly authority = join(this.directory, 'ca.pem');
  readonly #program: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #started: ChildProcess[] = [];

  constructor(cluster: Cluster, client: Client = 'current') {
    this.#program = program(client);
    writeFileSync(this.authority, cluster.server.pki.serverCa.cert);
    this.#env = { ...process.env, KUBECONFIG: writeKubeconfig(this.directory, cluster), HOME: this.directory };
  }

  close(): void {
    for (const child of this.#started) child.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** A program that edits a file as sed does, for EDITOR. */
  editor(script: string): string {
    const file = join(this.directory, 'editor');
    writeFileSync(file, `#!/bin/sh\nexec sed -i '${script}' "$@"\n`, { mode: 0o700 });
    return file;
  }

  /** A process that stays, such as `proxy`. */
  start(...args: string[]): ChildProcess {
    const child = spawn(this.#program, args, { env: this.#env });
    this.#started.push(child);
    return child;
  }

  run(args: readonly string[], input = '', env: Readonly<Record<string, string>> = {}): Promise<Output> {
    return new Promise((resolve, reject) => {
      const child = spawn(this.#program, args, { env: { ...this.#env, ...env } });
      const timer = setTimeout(() => child.kill('SIGKILL'), 60_000);
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (piece) => (stdout += String(piece)));
      child.stderr.on('data', (piece) => (stderr += String(piece)));
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? -1, stdout, stderr });
      });
      child.stdin.end(input);
    });
  }

  /** Standard output of a run that succeeds. */
  async must(args: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${code}: ${stderr}${stdout}`);
    return stdout;
  }

  /** Standard error of a run that fails. */
  async refused(args: readonly string[], input?: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(args, input);
    if (code === 0) throw new Error(`kubectl ${args.join(' ')} did not fail: ${stdout}`);
    return stderr;
  }
}
