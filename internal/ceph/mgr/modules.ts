import type { Clock } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { MonClient } from '../client/api.ts';
import { Balancer, executePlan, isPlan } from './balancer.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { Crashes } from './crashes.ts';
import { Devices } from './devices.ts';
import { HealthHistory } from './health-history.ts';
import { ModuleOptions, type MonCommand } from './module-options.ts';
import { adjustOptions } from './pg-adjust.ts';

/** How often old reports of crashes are looked for. */
const pruneMs = 86_400_000;
/** How often it is looked for disks that are expected to fail. */
const lookMs = 600_000;

export interface ModulesDeps {
  mon: MonClient;
  clock: Clock;
  random: Random;
  log: Logger;
}

/** What upstream has in modules that work of themselves: the balancer, and the keeper of crashes. Only the active mgr lets them. */
export class Modules {
  readonly #o: ModulesDeps;
  readonly #command: MonCommand;
  readonly options: ModuleOptions;
  readonly balancer: Balancer;
  readonly crashes: Crashes;
  readonly devices: Devices;
  readonly history: HealthHistory;
  #balancing = false;
  #balancedMs = Number.NEGATIVE_INFINITY;
  #prunedMs = Number.NEGATIVE_INFINITY;
  #lookedMs = Number.NEGATIVE_INFINITY;

  constructor(deps: ModulesDeps) {
    this.#o = deps;
    this.#command = (command, input) => deps.mon.command(command, input);
    this.options = new ModuleOptions(() => deps.mon.config, this.#command);
    this.balancer = new Balancer(this.options, deps.random);
    this.crashes = new Crashes(this.options, this.#command);
    this.devices = new Devices(this.options, this.#command);
    this.history = new HealthHistory(this.#command);
  }

  /** Every two seconds, while the state of the cluster is known. */
  tick(stats: ClusterStats): void {
    this.#balance(stats);
    this.#keepCrashes();
    this.#lookAtDevices();
  }

  /** Evens out how many PGs OSDs have, once a minute, where nobody has switched that off. */
  #balance(stats: ClusterStats): void {
    const { clock, log, mon } = this.#o;
    const nowMs = clock.monotonic();
    if (this.#balancing || nowMs - this.#balancedMs < this.balancer.sleepMs) return;
    this.#balancedMs = nowMs;
    if (!this.balancer.active || !this.balancer.permitted(clock.now())) return;
    const { maxMisplaced } = adjustOptions(mon.config);
    const plan = this.balancer.optimize('auto', stats, this.balancer.poolNames(stats.map), maxMisplaced, clock);
    if (!isPlan(plan)) return;
    log.info('the balancer moves PGs', { pgs: plan.changes.size, osdmap: plan.map.epoch });
    this.#balancing = true;
    executePlan(plan, this.#command)
      .catch((error: unknown) => log.warn('PGs could not be moved', { error: errorText(error) }))
      .finally(() => {
        this.#balancing = false;
      });
  }

  /** Which disks are expected to fail soon, by what has been said of them. */
  #lookAtDevices(): void {
    const { clock, log } = this.#o;
    const nowMs = clock.monotonic();
    if (nowMs - this.#lookedMs < lookMs) return;
    this.#lookedMs = nowMs;
    this.devices
      .look(clock.now())
      .catch((error: unknown) => log.warn('what is known of disks is not read', { error: errorText(error) }));
  }

  /** Reads reports of crashes once, and forgets old ones once a day. */
  #keepCrashes(): void {
    const { clock, log } = this.#o;
    const nowMs = clock.monotonic();
    if (nowMs - this.#prunedMs < pruneMs) return;
    this.#prunedMs = nowMs;
    this.crashes
      .prune(clock.now() - this.crashes.keptMs)
      .catch((error: unknown) => log.warn('reports of crashes are not read', { error: errorText(error) }));
  }
}
