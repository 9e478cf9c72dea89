import { closeSync, ftruncateSync, mkdirSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { AppError, errorText } from '../base/errors.ts';
import { makeDirectory, writeFileAtomic } from '../base/files-system.ts';
import type { Logger, LogLevel } from '../base/log.ts';
import { systemClock } from '../base/system.ts';
import type { Config } from '../config/config.ts';
import { effectiveConfigFile, nodePaths, type Paths } from '../config/paths.ts';
import { startControlServer } from './control-system.ts';
import type { FromRole, ToRole } from './ipc.ts';
import { instanceSpecs, type RoleEntry } from './role-table.ts';
import { selfCommand } from './self-system.ts';
import { type Action, type InstanceStatus, Supervision } from './supervision.ts';

const stepEveryMs = 500;
const maxLogBytes = 8 << 20;

interface Running {
  process: Bun.Subprocess;
  /** It was asked to stop. */
  asked?: boolean;
  /** Why it was killed, when it was us. */
  killedFor?: string;
  failure?: string;
}

export interface NodeStatus {
  version: string;
  node: string;
  pid: number;
  upSeconds: number;
  stopping: boolean;
  instances: (InstanceStatus & { pid: number | undefined; rssBytes: number | undefined })[];
}

/** Runs a node's processes until it is told to stop. One a run directory. */
export class Supervisor {
  readonly #config: Config;
  readonly #paths: Paths;
  readonly #log: Logger;
  readonly #version: string;
  readonly #supervision = new Supervision();
  readonly #running = new Map<string, Running>();
  readonly #entries = new Map<string, RoleEntry>();
  readonly #startedMs = systemClock.monotonic();
  readonly #onChange: (status: NodeStatus) => void;
  #control: { close(): void } | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #stopping = false;
  #ended: () => void = () => undefined;
  /** Resolves when everything has stopped after `stop`. */
  readonly ended: Promise<void>;

  constructor(options: { config: Config; log: Logger; version: string; onChange?: (status: NodeStatus) => void }) {
    this.#config = options.config;
    this.#paths = nodePaths(options.config.dataDir, options.config.runDir);
    this.#log = options.log;
    this.#version = options.version;
    this.#onChange = options.onChange ?? (() => undefined);
    this.ended = new Promise((resolve) => {
      this.#ended = resolve;
    });
  }

  get #configFile(): string {
    return effectiveConfigFile(this.#paths.runDir);
  }

  /** Opens the control socket and starts the instances. `stop` is what the control socket's stop request calls. */
  async start(onStopRequest: () => void): Promise<void> {
    makeDirectory(this.#paths.runDir);
    makeDirectory(`${this.#paths.runDir}/tmp`);
    makeDirectory(this.#paths.logs);
    writeFileAtomic(this.#configFile, JSON.stringify(this.#config), 0o600);
    this.#control = await startControlServer(this.#paths.controlSocket, {
      status: () => this.status(),
      stop: onStopRequest,
      setLogLevel: (level) => this.setLogLevel(level),
    });
    const specs = instanceSpecs(this.#config);
    for (const spec of specs) this.#entries.set(spec.name, spec.entry);
    this.#supervision.setInstances(specs, systemClock.monotonic());
    this.#ticker = setInterval(() => this.#step(), stepEveryMs);
    this.#step();
  }

  get allReady(): boolean {
    return this.#supervision.allReady;
  }

  setLogLevel(level: LogLevel): void {
    for (const name of this.#running.keys()) this.#tell(name, { t: 'log-level', level });
  }

  /** Stops `names` and what needs them, or everything. Resolves when it has ended. */
  async stop(names?: readonly string[]): Promise<void> {
    if (names) {
      const gone = new Set(names);
      this.#supervision.setInstances(
        instanceSpecs(this.#config).filter((spec) => !gone.has(spec.name)),
        systemClock.monotonic(),
      );
      this.#step();
      while (names.some((name) => this.#running.has(name))) await Bun.sleep(50);
      return;
    }
    this.#stopping = true;
    this.#supervision.stopAll();
    this.#step();
    await this.ended;
  }

  status(): NodeStatus {
    return {
      version: this.#version,
      node: this.#config.node.name,
      pid: process.pid,
      upSeconds: Math.round((systemClock.monotonic() - this.#startedMs) / 1000),
      stopping: this.#stopping,
      instances: this.#supervision.status().map((instance) => {
        const pid = this.#running.get(instance.name)?.process.pid;
        return { ...instance, pid, rssBytes: pid === undefined ? undefined : residentBytes(pid) };
      }),
    };
  }

  #step(): void {
    for (const action of this.#supervision.step(systemClock.monotonic())) this.#act(action);
    this.#onChange(this.status());
    if (this.#stopping && this.#supervision.stopped) {
      clearInterval(this.#ticker);
      this.#control?.close();
      this.#control = undefined;
      this.#ended();
    }
  }

  #act(action: Action): void {
    if (action.do === 'start') {
      this.#spawn(action.name).catch((error: unknown) => {
        this.#log.error('cannot start', { instance: action.name, error: errorText(error) });
        this.#supervision.onExit(action.name, `cannot start: ${errorText(error)}`, systemClock.monotonic());
      });
      return;
    }
    const running = this.#running.get(action.name);
    if (!running) return;
    if (action.do === 'stop') {
      running.asked = true;
      if (this.#entries.get(action.name)?.run.kind === 'program') running.process.kill('SIGTERM');
      else this.#tell(action.name, { t: 'stop' });
      return;
    }
    this.#log.warn('killing', { instance: action.name, why: action.why });
    running.killedFor = action.why;
    running.process.kill('SIGKILL');
  }

  async #spawn(name: string): Promise<void> {
    const entry = this.#entries.get(name);
    if (!entry) throw new AppError('ROLE', `no role for the instance ${name}`);
    const command =
      entry.run.kind === 'module'
        ? [...selfCommand(), 'role', name, this.#configFile]
        : await entry.run.prepare(this.#config, this.#paths);
    const log = openLog(this.#paths, name);
    const child = Bun.spawn(
      [
        // A session of its own keeps Ctrl-C on the terminal away; the death signal leaves no orphan when this process is killed.
        'setsid',
        ...(entry.privateMounts ? ['unshare', '--mount', '--propagation', 'private'] : []),
        'setpriv',
        '--pdeathsig',
        'KILL',
        ...command,
      ],
      {
        stdin: 'ignore',
        stdout: log,
        stderr: log,
        env: childEnvironment(this.#paths, entry),
        ...(entry.run.kind === 'module' ? { ipc: (message: FromRole) => this.#onMessage(name, message) } : {}),
      },
    );
    closeSync(log);
    const running: Running = { process: child };
    this.#running.set(name, running);
    this.#log.debug('started', { instance: name, pid: child.pid });
    void child.exited.then(() => {
      this.#running.delete(name);
      const reason = exitReason(child, running);
      this.#log[this.#stopping || running.asked ? 'debug' : 'warn']('ended', { instance: name, reason });
      this.#supervision.onExit(name, reason, systemClock.monotonic());
      this.#step();
    });
    if (entry.run.kind === 'program') await this.#awaitProgram(name, child, entry.run);
  }

  async #awaitProgram(
    name: string,
    child: Bun.Subprocess,
    program: Extract<RoleEntry['run'], { kind: 'program' }>,
  ): Promise<void> {
    while (child.exitCode === null && child.signalCode === null) {
      if (await program.ready(this.#config, this.#paths)) {
        this.#onMessage(name, { t: 'ready' });
        break;
      }
      await Bun.sleep(100);
    }
    const timer = setInterval(() => {
      if (this.#running.get(name)?.process !== child) return clearInterval(timer);
      void program
        .ready(this.#config, this.#paths)
        .then((ok) => this.#onMessage(name, { t: 'health', ok, detail: ok ? 'running' : 'does not answer' }));
    }, 5000);
  }

  #onMessage(name: string, message: FromRole): void {
    const now = systemClock.monotonic();
    if (message.t === 'ready') this.#supervision.onReady(name, now);
    else if (message.t === 'health') this.#supervision.onHealth(name, message.ok, message.detail, now);
    else {
      const running = this.#running.get(name);
      if (running) running.failure = message.message;
    }
    if (message.t === 'ready') this.#step();
  }

  #tell(name: string, message: ToRole): void {
    try {
      this.#running.get(name)?.process.send(message);
    } catch {
      // It has just ended; its exit is reported by itself.
    }
  }
}

function exitReason(child: Bun.Subprocess, running: Running): string {
  if (running.killedFor) return `killed: ${running.killedFor}`;
  if (child.signalCode) return `killed by ${child.signalCode}`;
  return running.failure ? `${running.failure} (exit ${child.exitCode})` : `exit ${child.exitCode}`;
}

/** Opens an instance's log for appending; a log that grew too large keeps its newer half. */
function openLog(paths: Paths, name: string): number {
  const path = `${paths.logs}/${name}.log`;
  mkdirSync(paths.logs, { recursive: true, mode: 0o700 });
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (size > maxLogBytes) {
    const fd = openSync(path, 'r+');
    const tail = Buffer.alloc(maxLogBytes / 2);
    const read = readSync(fd, tail, 0, tail.length, size - tail.length);
    ftruncateSync(fd, 0);
    closeSync(fd);
    writeFileAtomic(path, tail.subarray(0, read), 0o600);
  }
  return openSync(path, 'a', 0o600);
}

function childEnvironment(paths: Paths, entry: RoleEntry): Record<string, string> {
  const environment: Record<string, string> = { TMPDIR: `${paths.runDir}/tmp` };
  if (entry.engineMemoryMiB !== undefined) environment.BUN_JSC_forceRAMSize = String(entry.engineMemoryMiB << 20);
  for (const key of ['PATH', 'HOME', 'LANG', 'TZ', 'NO_COLOR', 'SSL_CERT_FILE', 'APPLIANCE_PLANTED_FAULT']) {
    const value = process.env[key];
    if (value !== undefined) environment[key] = value;
  }
  return environment;
}

/** Resident bytes of a process, undefined when it has ended. */
function residentBytes(pid: number): number | undefined {
  try {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
    return pages * 4096;
  } catch {
    return undefined;
  }
}
