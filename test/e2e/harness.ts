import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A whole appliance in a network namespace and directories of its own, driven by unmodified clients. */

export const root = join(import.meta.dirname, '../..');
export const binary = process.env.APPLIANCE_BINARY ?? join(root, `dist/appliance-linux-${process.arch}`);

export interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end; after `timeoutMs` it is killed and its code is 124. */
export async function run(
  argv: readonly string[],
  options: { env?: Record<string, string>; input?: string; timeoutMs?: number; cwd?: string } = {},
): Promise<Output> {
  const child = Bun.spawn([...argv], {
    stdin: options.input === undefined ? 'ignore' : new Blob([options.input]),
    stdout: 'pipe',
    stderr: 'pipe',
    cwd: options.cwd ?? root,
    env: { ...(process.env as Record<string, string>), ...options.env },
    timeout: options.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
  });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  return { code: child.signalCode ? 124 : code, stdout, stderr };
}

/** Like `run`, and an error with everything printed when the command fails. */
export async function must(argv: readonly string[], options: Parameters<typeof run>[1] = {}): Promise<string> {
  const output = await run(argv, options);
  if (output.code !== 0)
    throw new Error(
      `${argv.join(' ')}: exit ${output.code}\n${output.stdout.slice(-4000)}\n${output.stderr.slice(-4000)}`,
    );
  return output.stdout;
}

/** Repeats `check` until it gives something truthy. */
export async function until<T>(
  what: string,
  timeoutMs: number,
  check: () => Promise<T | undefined | false>,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs / 1000} s`, { cause: last });
    await Bun.sleep(250);
  }
}

/** Everything of the machine that an appliance could leave behind, as sorted lines. */
export interface Traces {
  processes: string[];
  mounts: string[];
  namespaces: string[];
  links: string[];
  rules: string[];
}

/** A switch in a network namespace of its own: nodes that are plugged into it reach one another, and nothing else. */
export class TestSwitch {
  readonly namespace = `appliance-switch-${process.pid}-${Math.floor(Math.random() * 1e6)}`;
  readonly #ports = new Map<string, string>();

  async make(): Promise<void> {
    await must(['ip', 'netns', 'add', this.namespace]);
    await must(['ip', '-n', this.namespace, 'link', 'add', 'switch', 'type', 'bridge']);
    await must(['ip', '-n', this.namespace, 'link', 'set', 'switch', 'up']);
  }

  /** Makes the interface `uplink` in the node's namespace, with its other end on the switch. */
  async plug(nodeNamespace: string): Promise<void> {
    const port = `port-${this.#ports.size}`;
    this.#ports.set(nodeNamespace, port);
    const here = (...argv: string[]) => must(['ip', '-n', this.namespace, 'link', ...argv]);
    await here('add', port, 'type', 'veth', 'peer', 'name', 'uplink', 'netns', nodeNamespace);
    await here('set', port, 'master', 'switch', 'up');
  }

  /** Pulls a node's cable out, or plugs it in again. The node keeps its address. */
  async connect(node: TestNode, connected: boolean): Promise<void> {
    const port = this.#ports.get(node.namespace)!;
    await must(['ip', '-n', this.namespace, 'link', 'set', port, connected ? 'up' : 'down']);
  }

  async remove(): Promise<void> {
    await run(['ip', 'netns', 'del', this.namespace]);
  }
}

/** What a node's namespace has of the test's own making. */
const ownLinks = /: (lo|uplink|uplink-peer)[:@]/;

export class TestNode {
  readonly directory: string;
  readonly namespace: string;
  readonly configFile: string;
  readonly name: string;
  ip: string;
  readonly #switch: TestSwitch | undefined;
  #up: Bun.Subprocess | undefined;

  readonly runDir: string;
  readonly binary: string;
  readonly #env: Record<string, string>;

  constructor(
    options: {
      directory?: string;
      runDir?: string;
      /** More of its `appliance.yaml`. */
      config?: string;
      name?: string;
      ip?: string;
      /** Where its network is plugged in; without one it is alone. */
      network?: TestSwitch;
      binary?: string;
      env?: Record<string, string>;
    } = {},
  ) {
    this.binary = options.binary ?? binary;
    this.#env = options.env ?? {};
    this.name = options.name ?? 'node-1';
    this.ip = options.ip ?? '10.98.0.1';
    this.#switch = options.network;
    this.directory = options.directory ?? mkdtempSync(join(tmpdir(), 'node-'));
    this.namespace = `appliance-${process.pid}-${Math.floor(Math.random() * 1e6)}`;
    this.runDir = options.runDir ?? join(this.directory, 'run');
    // Beside the run directory: a power loss of a test does not take it.
    this.configFile = `${this.runDir}.yaml`;
    mkdirSync(this.directory, { recursive: true });
    // Roles that are not root pass through it; mkdtemp makes directories for their owner only.
    chmodSync(this.directory, 0o755);
    writeFileSync(
      this.configFile,
      [
        'node:',
        `  name: ${this.name}`,
        `dataDir: ${this.directory}/data`,
        `runDir: ${this.runDir}`,
        `imagesDir: ${root}/dist/images`,
        options.config ?? '',
        '',
      ].join('\n'),
    );
  }

  get data(): string {
    return join(this.directory, 'data');
  }
  get kubeconfig(): string {
    return join(this.data, 'kubeconfig');
  }
  get cephConf(): string {
    return join(this.data, 'ceph/ceph.conf');
  }

  /** A namespace with one address and a default route: no traffic leaves it but to nodes on the same switch. */
  async makeNetwork(): Promise<void> {
    const inside = (...argv: string[]) => must(['ip', '-n', this.namespace, ...argv]);
    await must(['ip', 'netns', 'add', this.namespace]);
    await inside('link', 'set', 'lo', 'up');
    if (this.#switch) await this.#switch.plug(this.namespace);
    else {
      await inside('link', 'add', 'uplink', 'type', 'veth', 'peer', 'name', 'uplink-peer');
      await inside('link', 'set', 'uplink-peer', 'up');
    }
    await inside('addr', 'add', `${this.ip}/24`, 'dev', 'uplink');
    await inside('link', 'set', 'uplink', 'up');
    await inside('route', 'add', 'default', 'dev', 'uplink');
  }

  /** The network gives it another address, while it does not run. */
  async moveTo(ip: string): Promise<void> {
    const inside = (...argv: string[]) => must(['ip', '-n', this.namespace, ...argv]);
    await inside('addr', 'flush', 'dev', 'uplink');
    await inside('addr', 'add', `${ip}/24`, 'dev', 'uplink');
    await inside('route', 'add', 'default', 'dev', 'uplink');
    this.ip = ip;
  }

  /** The command line that runs `argv` in the node's network (mounts stay the machine's). */
  inside(...argv: string[]): string[] {
    return ['nsenter', `--net=/run/netns/${this.namespace}`, '--', ...argv];
  }

  /** Starts `appliance up`; resolves with what it printed when the node is ready. */
  up(timeoutMs = 120_000): Promise<string> {
    return this.start(['up'], timeoutMs);
  }

  /** Starts a sub-command that brings the node up and stays (`up`, `join`); resolves with what it printed when the node is ready. */
  async start(argv: readonly string[], timeoutMs = 120_000): Promise<string> {
    const [command] = argv;
    const child = Bun.spawn(this.inside(this.binary, '-c', this.configFile, ...argv), {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'inherit',
      env: { ...(process.env as Record<string, string>), ...this.#env, NO_COLOR: '1' },
    });
    this.#up = child;
    let text = '';
    const reader = child.stdout.getReader();
    const decoder = new TextDecoder();
    const ready = Promise.withResolvers<string>();
    const timer = setTimeout(
      () => ready.reject(new Error(`${command}: not ready within ${timeoutMs / 1000} s:\n${text}\n${this.logs()}`)),
      timeoutMs,
    );
    void (async () => {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        text += decoder.decode(value);
        if (/^Ready after/m.test(text) && text.includes('Ctrl-C here')) ready.resolve(text);
        if (/^Not ready after/m.test(text) && text.includes('Ctrl-C here'))
          ready.reject(new Error(`${command}:\n${text}\n${this.logs()}`));
      }
      ready.reject(new Error(`${command} ended:\n${text}\n${this.logs()}`));
    })();
    try {
      return await ready.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The last lines of every role's log. */
  logs(lines = 15): string {
    const directory = join(this.data, 'logs');
    if (!existsSync(directory)) return '';
    return [...new Bun.Glob('*.log').scanSync(directory)]
      .sort()
      .map((name) => `--- ${name}\n${readFileSync(join(directory, name), 'utf8').split('\n').slice(-lines).join('\n')}`)
      .join('\n');
  }

  get supervisorPid(): number {
    // The child is nsenter, which replaced itself by the appliance.
    return this.#up!.pid;
  }

  async waitForExit(): Promise<number> {
    return this.#up!.exited;
  }

  appliance(...argv: string[]): Promise<Output> {
    return run(this.inside(this.binary, '-c', this.configFile, ...argv), { timeoutMs: 180_000 });
  }

  async status(): Promise<{ instances: { name: string; pid?: number; phase: string }[] }> {
    const text = await must([
      'curl',
      '-s',
      '--unix-socket',
      join(this.runDir, 'control.sock'),
      'http://appliance/status',
    ]);
    return JSON.parse(text) as { instances: { name: string; pid?: number; phase: string }[] };
  }

  kubectl(
    argv: readonly string[],
    options: { client?: 'kubectl-12' | 'kubectl-13'; input?: string; timeoutMs?: number } = {},
  ): Promise<Output> {
    return run(this.inside(join(root, '.cache/bin', options.client ?? 'kubectl-13'), ...argv), {
      ...options,
      env: { KUBECONFIG: this.kubeconfig, HOME: this.directory },
    });
  }

  async mustKubectl(argv: readonly string[], options: Parameters<TestNode['kubectl']>[1] = {}): Promise<string> {
    const output = await this.kubectl(argv, options);
    if (output.code !== 0)
      throw new Error(
        `kubectl ${argv.join(' ')}: exit ${output.code}\n${output.stdout.slice(-3000)}\n${output.stderr.slice(-3000)}`,
      );
    return output.stdout;
  }

  /** `ceph`, `rados`, `rbd` with the configuration that the appliance wrote. */
  tool(argv: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<Output> {
    return run(this.inside(...argv), { ...options, env: { CEPH_CONF: this.cephConf, COLUMNS: '200' } });
  }

  async mustTool(argv: readonly string[], options: { input?: string; timeoutMs?: number } = {}): Promise<string> {
    const output = await this.tool(argv, options);
    if (output.code !== 0)
      throw new Error(
        `${argv.join(' ')}: exit ${output.code}\n${output.stdout.slice(-3000)}\n${output.stderr.slice(-3000)}`,
      );
    return output.stdout;
  }

  /** Waits for HEALTH_OK with every PG active+clean; the error names what is in the way. */
  async healthy(timeoutMs = 60_000): Promise<void> {
    await until('HEALTH_OK with every PG active+clean', timeoutMs, async () => {
      const { health, pgmap } = JSON.parse(await this.mustTool(['ceph', '-s', '-f', 'json'])) as {
        health: { status: string; checks: Record<string, { summary: { message: string } }> };
        pgmap: { num_pgs: number; pgs_by_state: { state_name: string; count: number }[] };
      };
      const clean = pgmap.pgs_by_state.find((state) => state.state_name === 'active+clean')?.count ?? 0;
      if (health.status === 'HEALTH_OK' && pgmap.num_pgs > 0 && clean === pgmap.num_pgs) return true;
      const checks = Object.values(health.checks).map(({ summary }) => summary.message);
      throw new Error(`${health.status} (${checks.join('; ')}), ${clean} of ${pgmap.num_pgs} PGs active+clean`);
    });
  }

  /** What of this node is on the machine now. */
  async traces(): Promise<Traces> {
    const processes: string[] = [];
    for (const pid of new Bun.Glob('[0-9]*').scanSync({ cwd: '/proc', onlyFiles: false })) {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        if ((command.includes(this.directory) || command.includes(this.runDir)) && Number(pid) !== process.pid)
          processes.push(`${pid} ${command.slice(0, 200)}`);
      } catch {
        // It ended meanwhile.
      }
    }
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.directory));
    const loops = (await must(['losetup', '-l', '-n', '-O', 'NAME,BACK-FILE']))
      .split('\n')
      .filter((line) => line.includes(this.directory));
    const links = (await must(['ip', '-n', this.namespace, '-o', 'link']))
      .split('\n')
      .filter((line) => line !== '' && !ownLinks.test(line));
    const rules = (await must(this.inside('nft', 'list', 'ruleset'))).split('\n').filter((line) => line.trim() !== '');
    const namespaces = (await run(['sh', '-c', 'ls /run/netns /var/run/netns 2>/dev/null | sort -u'])).stdout
      .split('\n')
      .filter((line) => line.startsWith('cni-'));
    return { processes: processes.sort(), mounts: [...mounts, ...loops].sort(), namespaces, links, rules };
  }

  /** Removes everything, also after a failed test. */
  async remove(): Promise<void> {
    if (this.#up && this.#up.exitCode === null) {
      await this.appliance('down');
      this.#up.kill('SIGKILL');
    }
    await run(['ip', 'netns', 'del', this.namespace]);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
