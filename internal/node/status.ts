import type { LogLevel } from '../base/log.ts';
import type { InstanceStatus, Phase } from './supervision.ts';

/** What the control socket tells: read by `status` and other programs, so keys are added and never change their meaning. */

export interface NodeStatus {
  /** Of this answer's form; raised when a program that knows an earlier one would misread it. */
  protocol: 1;
  version: string;
  node: string;
  pid: number;
  upSeconds: number;
  stopping: boolean;
  /** What of a full stop is done at this moment, before and beside what `instances` tells. */
  step?: string | undefined;
  logLevel: LogLevel;
  instances: NodeInstance[];
  /** Why roles run without memory budgets, undefined when they have them. */
  budgetProblem?: string | undefined;
  /** The last reload, if there was one. */
  reload?: ReloadStatus | undefined;
}

export interface NodeInstance extends Omit<InstanceStatus, 'exits'> {
  /** The system user that it runs as. */
  user: string;
  pid: number | undefined;
  rssBytes: number | undefined;
  /** What its process and what that started use, page cache included; undefined without cgroups. */
  memoryBytes: number | undefined;
  /** Its memory budget; undefined: none. */
  limitBytes: number | undefined;
  /** The last deaths, the newest last. */
  exits: { at: string; reason: string }[];
}

export interface ReloadStatus {
  at: string;
  /** Why the new configuration was refused; the old one holds. */
  error?: string;
  /** Of that, the code of the AppError: CONFIG for a wrong configuration. */
  errorCode?: string;
  applied: string[];
  /** Keys whose new value holds after the next restart. */
  restart: string[];
}

const phaseWords: Readonly<Record<Phase, string>> = {
  waiting: 'has not started',
  starting: 'is starting',
  running: 'is not healthy',
  'back-off': 'has ended',
  'crash-loop': 'is in a crash loop',
  stopping: 'is stopping',
  stopped: 'has stopped',
};

/** What is not as it should be with an instance: `mgr has ended: exit 1; starts again in 2.0 s`. */
export function troubleText({ name, phase, detail }: Pick<NodeInstance, 'name' | 'phase' | 'detail'>): string {
  const state = `${name} ${phaseWords[phase]}`;
  return state.endsWith(detail) ? state : `${state}: ${detail}`;
}

/** What of a configuration that was read again holds, and when. */
export function reloadText({ applied, restart }: Pick<ReloadStatus, 'applied' | 'restart'>): string {
  if (applied.length + restart.length === 0) return 'nothing changed';
  return [
    ...(applied.length > 0 ? [`holds now: ${applied.join(', ')}`] : []),
    ...(restart.length > 0 ? [`holds after a restart of the node: ${restart.join(', ')}`] : []),
  ].join('; ');
}

/** One sentence about the node, for `systemctl status`. */
export function statusSentence(status: NodeStatus): string {
  const { instances } = status;
  if (status.stopping) {
    const left = instances.filter((instance) => instance.phase !== 'stopped').map((instance) => instance.name);
    return left.length === 0 ? 'Stopped.' : `Stopping ${left.join(', ')}.`;
  }
  const bad = instances.filter((instance) => instance.phase !== 'running' || !instance.healthy);
  if (bad.length === 0)
    return `All of ${instances.length} processes run${status.reload?.restart.length ? '; a changed configuration waits for a restart' : ''}.`;
  const [first] = bad;
  const more = bad.length > 1 ? ` (and ${bad.length - 1} more)` : '';
  return `${instances.length - bad.length} of ${instances.length} processes run; ${troubleText(first!)}${more}.`;
}

/** A service manager is told that the node is up when every instance runs, or fails so often that waiting is of no use. */
export function settled(status: NodeStatus): boolean {
  return status.instances.every(({ phase, healthy }) => (phase === 'running' && healthy) || phase === 'crash-loop');
}
