import { plural, sizeWords, wrapped } from '../../internal/base/words.ts';
import { type NodeInstance, type NodeStatus, troubleText } from '../../internal/node/status.ts';
import { comeWithinMs } from '../../internal/store/awaited-members.ts';
import { noLeaderText } from './no-leader.ts';
import { columns } from './output.ts';

/** What was found out about a node; a part that did not answer has an `error`. */
export interface Facts {
  configured: {
    name: string;
    roles: readonly string[] /** Its storage is somebody else's. */;
    externalStorage?: boolean;
  };
  /** Where the Kubernetes API of the node's cluster is: its own server, else one that it knows. */
  api?: string | undefined;
  supervisor: NodeStatus | undefined;
  /** What is wrong with the machine's time. */
  clock?: string | undefined;
  /** That authorities of the cluster end within a year. */
  authorities?: { text: string; urgent: boolean } | undefined;
  kubernetes:
    | {
        nodes: { name: string; ready: boolean; reason: string }[];
        pods: { name: string; phase: string; ready: boolean }[];
      }
    | { error: string }
    | undefined;
  storage:
    | {
        health: string;
        checks: { code: string; summary: string }[];
        osds: { total: number; up: number; in: number };
        pgs: { total: number; clean: number };
        usedBytes: number;
        totalBytes: number;
      }
    | { error: string }
    | undefined;
  /** Who keeps the control plane's store; undefined on a node that does not. */
  servers?:
    | {
        name: string;
        role: 'leader' | 'voter' | 'learner';
        state: 'runs' | 'not started' | 'unreachable';
        /** Entries that it has not applied yet. */
        behind?: number;
        error?: string;
        hasLeader: boolean;
      }[]
    | { error: string }
    | undefined;
}

export interface StatusReport {
  /** All is well, also with the rest of the cluster. */
  ok: boolean;
  /** This node and what runs on it do their part, whatever is with others: `up` waits for that. */
  ready: boolean;
  /** The whole story, a sentence each. */
  sentences: string[];
  /** What is not as it should be, the most important first. */
  problems: string[];
  facts: Facts;
}

/** With one full stop at its end, whoever's words it ends with. */
const stop = (text: string): string => `${text.replace(/[.\s]+$/, '')}.`;
const sentence = (text: string): string => stop(`${text[0]!.toUpperCase()}${text.slice(1)}`);

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** The same reason several times in a row is told once. */
function exitsText(exits: NodeInstance['exits']): string {
  const runs: { reason: string; times: string[] }[] = [];
  for (const { at, reason } of exits) {
    const last = runs.at(-1);
    if (last?.reason === reason) last.times.push(at.slice(11, 19));
    else runs.push({ reason, times: [at.slice(11, 19)] });
  }
  return runs
    .map(({ reason, times }) =>
      times.length === 1
        ? `${reason} (${times[0]})`
        : `${reason} (${times.length} times from ${times[0]} to ${times.at(-1)})`,
    )
    .join('; ');
}

/** When the last one ended: ` (2024-05-01 12:00:00 UTC)`; a count alone does not tell whether it is over. */
function endedAt(exits: NodeInstance['exits']): string {
  const at = exits.at(-1)?.at;
  return at === undefined ? '' : ` (${at.slice(0, 19).replace('T', ' ')} UTC)`;
}

/** Tells facts in words. */
export function report(facts: Facts): StatusReport {
  const problems: string[] = [];
  const sentences: string[] = [];
  const { supervisor, kubernetes, storage } = facts;
  if (!supervisor) {
    const sentence = `${facts.configured.name} is not running.`;
    return { ok: false, ready: false, sentences: [sentence], problems: [sentence], facts };
  }
  // What is wrong with others, and what follows from it for what all of them keep together.
  const others: string[] = [];
  if (supervisor.stopping) {
    const left = supervisor.instances.filter(({ phase }) => phase !== 'stopped').map(({ name }) => name);
    const step = supervisor.step ?? (left.length > 0 ? `stopping ${left.join(', ')}` : 'removing what is left');
    problems.push(stop(`The node is stopping: ${step}`));
  }
  const first = [...problems];
  const bad = supervisor.instances.filter((instance) => instance.phase !== 'running' || !instance.healthy);
  for (const instance of bad) problems.push(stop(troubleText(instance)));
  const memory = supervisor.instances.reduce((sum, instance) => sum + (instance.rssBytes ?? 0), 0);
  const restarted = supervisor.instances.filter((instance) => instance.restarts > 0);
  sentences.push(
    `${supervisor.node} has been up for ${duration(supervisor.upSeconds)}; ${
      bad.length === 0
        ? `all of its ${supervisor.instances.length} processes run`
        : `${supervisor.instances.length - bad.length} of its ${supervisor.instances.length} processes run well, ${bad.map(({ name }) => name).join(', ')} ${bad.length === 1 ? 'does' : 'do'} not`
    } (${sizeWords(memory)} resident, shared pages counted in each).`,
  );
  for (const instance of restarted)
    sentences.push(
      `${instance.name} was started again ${plural(instance.restarts, 'time')}; ${
        instance.phase === 'crash-loop'
          ? `the last ones ended with: ${exitsText(instance.exits)}`
          : `the last one ended with: ${instance.lastExit}${endedAt(instance.exits)}`
      }.`,
    );
  if (supervisor.budgetProblem !== undefined)
    sentences.push(`Roles run without memory budgets: ${supervisor.budgetProblem}.`);
  const { reload } = supervisor;
  if (reload?.error !== undefined)
    sentences.push(`The configuration was not reloaded at ${reload.at}: ${reload.error}`);
  else if (reload !== undefined && reload.restart.length > 0)
    sentences.push(`Changed in the configuration, to hold after a restart: ${reload.restart.join(', ')}.`);

  // No problem of the node: it goes on from the last known time.
  if (facts.clock !== undefined) sentences.push(sentence(facts.clock));
  if (facts.authorities) (facts.authorities.urgent ? problems : sentences).push(sentence(facts.authorities.text));

  if (kubernetes && 'error' in kubernetes) problems.push(stop(`Kubernetes does not answer: ${kubernetes.error}`));
  else if (kubernetes) {
    if (kubernetes.nodes.length === 0) {
      // A server that runs no pods is none itself.
      const own = facts.configured.roles.includes('agent');
      (own ? problems : sentences).push('No node has registered with Kubernetes yet.');
    }
    for (const node of kubernetes.nodes) {
      if (node.ready) sentences.push(`Node ${node.name} is Ready.`);
      else
        (node.name === supervisor.node ? problems : others).push(
          stop(`Node ${node.name} is not Ready: ${node.reason}`),
        );
    }
    const unready = kubernetes.pods.filter((pod) => !pod.ready && pod.phase !== 'Succeeded');
    sentences.push(
      kubernetes.pods.length === 0
        ? 'No pods run yet.'
        : `${plural(kubernetes.pods.length, 'pod')}, ${
            unready.length === 0
              ? 'all ready'
              : `${unready.length} not ready: ${unready
                  .slice(0, 5)
                  .map((pod) => `${pod.name} (${pod.phase})`)
                  .join(', ')}`
          }.`,
    );
  }

  const { servers } = facts;
  if (servers && 'error' in servers) problems.push(stop(`The store does not answer: ${servers.error}`));
  else if (servers) tellServers(servers, supervisor.node, { sentences, problems, others });

  const external = facts.configured.externalStorage === true;
  if (storage && 'error' in storage)
    (external ? others : problems).push(stop(`Storage does not answer: ${storage.error}`));
  else if (storage) {
    const state =
      storage.health === 'HEALTH_OK'
        ? 'healthy'
        : storage.health === 'HEALTH_WARN'
          ? 'usable, with warnings'
          : 'in trouble';
    const told = `Storage is ${state}: ${storage.osds.up} of ${plural(storage.osds.total, 'OSD')} up, ${storage.pgs.clean} of ${plural(storage.pgs.total, 'placement group')} clean, ${sizeWords(storage.usedBytes)} of ${sizeWords(storage.totalBytes)} used.`;
    sentences.push(told);
    // Of a cluster of one node, whatever is not up yet is its own.
    const several =
      (kubernetes && 'nodes' in kubernetes && kubernetes.nodes.length > 1) ||
      (Array.isArray(servers) && servers.length > 1);
    const away =
      others.length > 0 ||
      (several &&
        (storage.osds.up < storage.osds.total ||
          storage.checks.some(({ code }) => code === 'MON_DOWN' || code === 'OSD_DOWN')));
    const concerned = away || external ? others : problems;
    if (storage.health !== 'HEALTH_OK')
      concerned.push(
        ...(storage.checks.length > 0
          ? storage.checks.map((check) => `Storage: ${check.summary} (${check.code}).`)
          : [told]),
      );
    else if (storage.pgs.clean < storage.pgs.total)
      concerned.push(
        `${storage.pgs.total - storage.pgs.clean} of ${plural(storage.pgs.total, 'placement group')} ${storage.pgs.total - storage.pgs.clean === 1 ? 'is' : 'are'} not clean yet.`,
      );
  }
  const all = [...problems, ...others];
  return {
    ok: all.length === 0,
    ready: problems.length === 0,
    sentences: [...first, ...sentences, ...all.slice(first.length)],
    problems: all,
    facts,
  };
}

/** So many entries are on their way to a member that is well. */
const behindMax = 1000;

type Server = Extract<Facts['servers'], readonly unknown[]>[number];

function tellServers(
  servers: readonly Server[],
  self: string,
  { sentences, problems, others }: Record<'sentences' | 'problems' | 'others', string[]>,
): void {
  const leader = servers.find(({ role, state }) => role === 'leader' && state === 'runs');
  const waiting = servers.filter(({ role, state }) => role === 'learner' && state === 'runs');
  if (servers.length > 1) {
    const names = waiting.map(({ name }) => name).join(', ');
    sentences.push(
      `The store is kept by ${plural(servers.length, 'server')}${leader ? `, ${leader.name} leads` : ''}${
        waiting.length === 0
          ? ''
          : `; ${names} ${waiting.length === 1 ? 'has' : 'have'} no vote: the number of those that have one stays odd`
      }.`,
    );
  }
  if (!servers.some(({ hasLeader }) => hasLeader)) problems.push(noLeaderText(servers));
  for (const { name, state, error, behind = 0 } of servers) {
    const concerned = name === self ? problems : others;
    if (state === 'unreachable') concerned.push(stop(`Server ${name} is not reached: ${error}`));
    else if (state === 'not started')
      concerned.push(
        `Server ${name} was added to the store and has not come yet; when it does not within ${duration(comeWithinMs / 1000)} it is let go.`,
      );
    else if (behind > behindMax) concerned.push(`Server ${name} lacks ${behind} entries of the store.`);
  }
}

/** What a report says, for people: the sentences, broken at `width` characters, then a line for every process of the node. */
export function statusText({ sentences, facts }: StatusReport, width = Number.POSITIVE_INFINITY): string {
  const { supervisor } = facts;
  const told = sentences.map((one) => wrapped(one, width)).join('\n');
  if (!supervisor) return told;
  const rows = supervisor.instances.map((one) => [
    one.name,
    one.phase === 'running' && !one.healthy ? 'unhealthy' : one.phase,
    String(one.restarts),
    one.rssBytes === undefined ? '-' : sizeWords(one.rssBytes),
    one.detail,
  ]);
  return `${told}\n\n${columns([['PROCESS', 'STATE', 'RESTARTS', 'MEMORY', 'DETAIL'], ...rows])}`;
}
