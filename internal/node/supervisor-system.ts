import { readFileSync } from 'node:fs';
import { AppError, errorCode, errorText } from '../base/errors.ts';
import { writeFileAtomic } from '../base/files-system.ts';
import type { Logger, LogLevel } from '../base/log.ts';
import { systemClock } from '../base/system.ts';
import type { Config } from '../config/config.ts';
import { effectiveConfigFile, nodePaths, type Paths } from '../config/paths.ts';
import type { OomCounts } from './cgroup.ts';
import { RoleCgroups, volumesGroup } from './cgroup-system.ts';
import { startControlServer } from './control-system.ts';
import { deathReason } from './death.ts';
import { type InstanceProcess, InstanceProcesses, type Running } from './instance-processes.ts';
import type { FromRole, ToRole } from './ipc.ts';
import { lockNode } from './node-lock-system.ts';
import type { PreparedNode } from './prepared-process.ts';
import { keepLastTime, lastTimeEveryMs } from '../base/last-time-system.ts';
import { planReload } from './reload.ts';
import { cutLog, logFile } from './role-log-system.ts';
import { makeRunDirectories, startRoleProcess } from './role-process-system.ts';
import { instanceSpecs, memoryOf, type RoleEntry } from './role-table.ts';
import type { NodeInstance, NodeStatus, ReloadStatus } from './status.ts';
import { type InstanceStatus, Supervision } from './supervision.ts';
import { readUsers, type Users } from './users-system.ts';

const stepEveryMs = 500;
/** Kills for want of memory and sizes of logs are looked at this often. */
const lookEveryMs = 5000;
/** What starts, questions and reloads leave behind is given back; the engine by itself waits until there is much of it. */
const collectEveryMs = 60_000;
/** Steps that are later than this are not the supervisor doing its work. */
const stepLateMs = 10_000;

interface RoleProcess extends InstanceProcess {
  readonly child: Bun.Subprocess;
  /** What it said before it ended. */
  failure?: string;
  /** Of its group when it started, and since then when helpers of it were killed. */
  oomBefore: OomCounts;
}

export interface SupervisorOptions {
  readonly node: PreparedNode;
  readonly log: Logger;
  /** The level of roles' logs was changed. */
  onLogLevel?(level: LogLevel): void;
  readonly version: string;
  /** When the node's start began, on the monotonic clock; absent: now. */
  readonly startedMs?: number;
  /** Names of roles; absent: all that the configuration asks for. */
  readonly only?: readonly string[];
  /** Called when a phase or the health of an instance changed, and after a reload. */
  onChange(status: NodeStatus): void;
  /** Around a reload, whoever asked for it. */
  onReload?(phase: 'begin' | 'end'): void;
  /** Reads the configuration again; gives up when the node stops. */
  prepareAgain(stopping: AbortSignal): Promise<PreparedNode>;
}

/** Runs a node's processes until it is told to stop. One a run directory. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  #config: Config;
  readonly #paths: Paths;
  readonly #log: Logger;
  readonly #cgroups: RoleCgroups;
  readonly #supervision = new Supervision();
  readonly #processes: InstanceProcesses<RoleProcess>;
  readonly #entries = new Map<string, RoleEntry>();
  readonly #startedMs: number;
  #logLevel: LogLevel;
  #users: Users = new Map();
  #control: { close(): void } | undefined;
  #lock: { release(): void } | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #lastStepMs = systemClock.monotonic();
  #lastLookMs = systemClock.monotonic();
  #lastCollectMs = systemClock.monotonic();
  #wasReady = false;
  #lastTimeMs = systemClock.monotonic();
  #reload: ReloadStatus | undefined;
  #reloading: Promise<ReloadStatus> | undefined;
  readonly #stopping = new AbortController();
  #stopStep: string | undefined;
  #shown = '';
  #ended: () => void = () => undefined;
  /** Resolves when everything has stopped after `stop`. */
  readonly ended: Promise<void>;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#startedMs = options.startedMs ?? systemClock.monotonic();
    this.#config = options.node.config;
    this.#paths = nodePaths(this.#config.dataDir, this.#config.runDir);
    this.#log = options.log;
    this.#logLevel = this.#config.logLevel;
    this.#cgroups = new RoleCgroups(options.node.applianceId, options.log);
    this.#processes = new InstanceProcesses(
      {
        start: (name) => this.#spawn(name),
        onReady: (name) => this.#onMessage(name, { t: 'ready' }),
        onHealth: (name, ok, detail) => this.#onMessage(name, { t: 'health', ok, detail }),
        onExit: (name, running) => this.#onExit(name, running),
        onNoStart: (name, error) => this.#onNoStart(name, error),
        onKill: (instance, why) => this.#log.warn('killing', { instance, why }),
      },
      systemClock,
    );
    this.ended = new Promise((resolve) => {
      this.#ended = resolve;
    });
  }

  /** Opens the control socket and starts the instances. `onStopRequest` is what the control socket's stop request calls. */
  async start(onStopRequest: () => void): Promise<void> {
    this.#lock = lockNode(this.#config);
    this.#users = readUsers();
    makeRunDirectories(this.#paths);
    this.#writeConfig();
    this.#control = await startControlServer(this.#paths.controlSocket, {
      status: () => this.status(),
      logFile: (instance) => (this.#entries.has(instance) ? logFile(this.#paths, instance) : undefined),
      stop: onStopRequest,
      reload: () => this.reload(),
      setLogLevel: (level) => this.setLogLevel(level),
    });
    this.#cgroups.setUp();
    if (this.#cgroups.problem !== undefined)
      this.#log.warn('roles run without memory budgets', { why: this.#cgroups.problem });
    this.#cgroups.ensure(volumesGroup, undefined, true);
    this.#setInstances();
    this.#ticker = setInterval(() => this.#step(), stepEveryMs);
    this.#keepTime();
    this.#step();
  }

  #keepTime(): void {
    this.#lastTimeMs = systemClock.monotonic();
    try {
      keepLastTime(this.#config.dataDir);
    } catch (error) {
      this.#log.warn('the time could not be noted', { error: errorText(error) });
    }
  }

  get allReady(): boolean {
    return this.#supervision.allReady;
  }

  /** Why the supervisor does not do what it is for, undefined when it does; roles that fail and are dealt with are no reason. */
  get neglected(): string | undefined {
    const now = systemClock.monotonic();
    if (now - this.#lastStepMs > stepLateMs) return 'the supervisor does not come to its steps';
    return this.#supervision.neglected(now);
  }

  setLogLevel(level: LogLevel): void {
    this.#logLevel = level;
    this.#options.onLogLevel?.(level);
    for (const [name] of this.#processes.entries()) this.#tell(name, { t: 'log-level', level });
  }

  /** Reads the configuration again and takes what can change while the node runs. Never throws; the answer says what happened. */
  reload(): Promise<ReloadStatus> {
    if (!this.#reloading) this.#options.onReload?.('begin');
    this.#reloading ??= this.#reloadOnce().finally(() => {
      this.#reloading = undefined;
      this.#options.onReload?.('end');
    });
    return this.#reloading;
  }

  async #reloadOnce(): Promise<ReloadStatus> {
    const done = (status: Omit<ReloadStatus, 'at'>): ReloadStatus => {
      this.#reload = { at: new Date().toISOString(), ...status };
      const { error, applied, restart } = status;
      if (error !== undefined) this.#log.error('configuration not reloaded', { error });
      else this.#log.info('configuration reloaded', { applied, restartNeededFor: restart });
      this.#options.onChange(this.status());
      return this.#reload;
    };
    const stopping = (): ReloadStatus => done({ error: 'the node is stopping', applied: [], restart: [] });
    if (this.#stopping.signal.aborted) return stopping();
    let again: PreparedNode;
    try {
      again = await this.#options.prepareAgain(this.#stopping.signal);
    } catch (error) {
      if (this.#stopping.signal.aborted) return stopping();
      const code = errorCode(error);
      return done({
        error: errorText(error),
        ...(code !== undefined && { errorCode: code }),
        applied: [],
        restart: [],
      });
    }
    // It takes seconds: what was stopped meanwhile must not come back.
    if (this.#stopping.signal.aborted) return stopping();
    const roles = new Set([...this.#entries.values()].map((entry) => entry.role));
    const plan = planReload(this.#config, again.config, again.changes ?? { live: [], restart: [] }, roles);
    const levelChanged = plan.config.logLevel !== this.#config.logLevel;
    this.#config = plan.config;
    this.#writeConfig();
    if (levelChanged) this.setLogLevel(plan.config.logLevel);
    // Before new instances start: the mon takes their keys.
    for (const [name] of this.#processes.entries()) this.#tell(name, { t: 'reload' });
    this.#setInstances();
    for (const [name, entry] of this.#entries)
      if (this.#processes.has(name))
        this.#cgroups.setLimit(name, memoryOf(entry, this.#config).limitBytes, entry.survives === true);
    this.#step();
    return done({ applied: [...plan.applied], restart: [...plan.restart] });
  }

  #specs(): ReturnType<typeof instanceSpecs> {
    const { only } = this.#options;
    return instanceSpecs(this.#config).filter(({ entry }) => only === undefined || only.includes(entry.role));
  }

  /** For commands that ask what the node runs with. */
  #writeConfig(): void {
    writeFileAtomic(effectiveConfigFile(this.#paths.runDir), JSON.stringify(this.#config), 0o600);
  }

  #setInstances(): void {
    const specs = this.#specs();
    for (const spec of specs) this.#entries.set(spec.name, spec.entry);
    this.#supervision.setInstances(specs, systemClock.monotonic());
  }

  /** What is done beside the instances while the node stops, for those who ask how it is. */
  tellStep(step: string | undefined): void {
    this.#stopStep = step;
  }

  /** From now on the node stops: nothing is reloaded any more. Resolves when a reload that was under way has been given up. */
  async beginStop(): Promise<void> {
    this.#stopping.abort();
    await this.#reloading;
  }

  /** Stops `names` and what needs them, or everything. Resolves when it has ended. */
  async stop(names?: readonly string[]): Promise<void> {
    if (names) {
      const gone = new Set(names);
      this.#supervision.setInstances(
        this.#specs().filter((spec) => !gone.has(spec.name)),
        systemClock.monotonic(),
      );
      this.#step();
      while (names.some((name) => this.#processes.has(name))) await Bun.sleep(50);
      return;
    }
    await this.beginStop();
    this.#supervision.stopAll();
    this.#step();
    await this.ended;
  }

  status(): NodeStatus {
    return {
      protocol: 1,
      version: this.#options.version,
      node: this.#config.node.name,
      pid: process.pid,
      upSeconds: Math.round((systemClock.monotonic() - this.#startedMs) / 1000),
      stopping: this.#stopping.signal.aborted,
      step: this.#stopStep,
      logLevel: this.#logLevel,
      instances: this.#supervision.status().map((instance) => this.#instanceStatus(instance)),
      budgetProblem: this.#cgroups.problem,
      reload: this.#reload,
    };
  }

  #instanceStatus({ exits, ...instance }: InstanceStatus): NodeInstance {
    const entry = this.#entries.get(instance.name)!;
    const pid = this.#processes.get(instance.name)?.handle.child.pid;
    const epochMs = Date.now() - systemClock.monotonic();
    return {
      ...instance,
      user: entry.user ?? 'root',
      pid,
      rssBytes: pid === undefined ? undefined : residentBytes(pid),
      memoryBytes: pid === undefined ? undefined : this.#cgroups.usage(instance.name, entry.survives === true),
      limitBytes: memoryOf(entry, this.#config).limitBytes,
      exits: exits.map(({ atMs, reason }) => ({ at: new Date(epochMs + atMs).toISOString(), reason })),
    };
  }

  #step(): void {
    const now = systemClock.monotonic();
    this.#lastStepMs = now;
    for (const action of this.#supervision.step(now)) this.#processes.act(action);
    if (now - this.#lastLookMs >= lookEveryMs) {
      this.#lastLookMs = now;
      this.#tellOomOfHelpers();
      this.#cutLogs();
    }
    const ready = this.#supervision.allReady;
    if ((ready && !this.#wasReady) || now - this.#lastCollectMs >= collectEveryMs) {
      this.#lastCollectMs = now;
      // Collects when the loop is idle, and lets go of compiled code: a collection alone leaves 1.2 MB more.
      Bun.shrink();
    }
    this.#wasReady = ready;
    if (now - this.#lastTimeMs >= lastTimeEveryMs) this.#keepTime();
    this.#tellChange();
    if (this.#supervision.stopped) {
      clearInterval(this.#ticker);
      this.#control?.close();
      this.#control = undefined;
      this.#cgroups.tearDown();
      this.#keepTime();
      this.#lock?.release();
      this.#ended();
    }
  }

  #tellChange(): void {
    const shown = this.#supervision
      .status()
      .map(({ name, phase, healthy, detail }) => `${name} ${phase} ${healthy || detail}`)
      .join('\n');
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#options.onChange(this.status());
  }

  /** A process that a role started may be killed for want of memory while the role itself lives. */
  #tellOomOfHelpers(): void {
    for (const [instance, { handle }] of this.#processes.entries()) {
      const counts = this.#oomCounts(instance);
      if (counts.kills <= handle.oomBefore.kills) continue;
      handle.oomBefore = counts;
      this.#log.warn('a process that the role started ran out of memory', { instance });
    }
  }

  #cutLogs(): void {
    for (const [instance] of this.#processes.entries())
      try {
        cutLog(logFile(this.#paths, instance));
      } catch (error) {
        this.#log.warn('log not cut', { instance, error: errorText(error) });
      }
  }

  #oomCounts(instance: string): OomCounts {
    return this.#cgroups.oomCounts(instance, this.#entries.get(instance)?.survives === true);
  }

  #onNoStart(instance: string, error: unknown): void {
    this.#log.error('cannot start', { instance, error: errorText(error) });
    this.#supervision.onExit(instance, `cannot start: ${errorText(error)}`, systemClock.monotonic());
  }

  async #spawn(name: string): Promise<RoleProcess> {
    const entry = this.#entries.get(name);
    if (!entry) throw new AppError('ROLE', `no role for the instance ${name}`);
    const child = await startRoleProcess({
      entry,
      instance: name,
      config: { ...this.#config, logLevel: this.#logLevel },
      paths: this.#paths,
      users: this.#users,
      cgroups: this.#cgroups,
      onMessage: (message) => this.#onMessage(name, message),
    });
    this.#log.debug('started', { instance: name, pid: child.pid });
    const { run } = entry;
    return {
      child,
      exited: child.exited,
      oomBefore: this.#oomCounts(name),
      kill: () => child.kill('SIGKILL'),
      ...(run.kind === 'program'
        ? { stop: () => child.kill('SIGTERM'), ask: () => run.ask(this.#config, this.#paths, name) }
        : { stop: () => this.#tell(name, { t: 'stop' }) }),
    };
  }

  #onExit(name: string, { handle, asked, killedFor }: Running<RoleProcess>): void {
    const entry = this.#entries.get(name);
    if (!entry) return;
    const { child, failure, oomBefore } = handle;
    const oom = this.#oomCounts(name);
    const reason = deathReason({
      exitCode: child.exitCode,
      signal: child.signalCode === null ? null : String(child.signalCode),
      ...(killedFor === undefined ? {} : { killedFor }),
      ...(failure === undefined ? {} : { failure }),
      oom: { kills: oom.kills - oomBefore.kills, limitHits: oom.limitHits - oomBefore.limitHits },
      limitBytes: memoryOf(entry, this.#config).limitBytes,
    });
    this.#log[this.#stopping.signal.aborted || asked ? 'debug' : 'warn']('ended', { instance: name, reason });
    if (asked) this.#cgroups.remove(name, entry.survives === true);
    this.#supervision.onExit(name, reason, systemClock.monotonic());
    this.#step();
  }

  #onMessage(name: string, message: FromRole): void {
    const now = systemClock.monotonic();
    if (message.t === 'ready') this.#supervision.onReady(name, now);
    else if (message.t === 'waits') this.#supervision.onWaits(name, message.detail, now);
    else if (message.t === 'health') this.#supervision.onHealth(name, message.ok, message.detail, now);
    else {
      const running = this.#processes.get(name);
      if (running) running.handle.failure = message.message;
    }
    if (message.t === 'ready') this.#step();
  }

  #tell(name: string, message: ToRole): void {
    if (this.#entries.get(name)?.run.kind !== 'module') return;
    try {
      this.#processes.get(name)?.handle.child.send(message);
    } catch {
      // It has just ended; its exit is reported by itself.
    }
  }
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
