import type { Pod, PodAffinityTerm } from '../../api/types.ts';
import { type LabelSelector, labelSelectorOf, matchesLabels } from '../../machinery/selectors.ts';
import { maxScore, type Plugin, type Rejection } from '../framework.ts';
import type { NodeInfo } from '../node-info.ts';

/** Labels of a namespace, for terms with a namespaceSelector; fed by an informer. */
export type NamespaceLabels = (name: string) => Readonly<Record<string, string>> | undefined;

interface Term {
  topologyKey: string;
  /** Whether a pod is one that the term is about. */
  matches(pod: Pod): boolean;
}

/** A term as its owner means it: its namespace, its label keys. */
function termOf(owner: Pod, term: PodAffinityTerm, namespaceLabels: NamespaceLabels): Term {
  const selector: LabelSelector = labelSelectorOf(term.labelSelector);
  const requirements = [...selector.requirements];
  for (const [keys, operator] of [
    [term.matchLabelKeys ?? [], 'in'],
    [term.mismatchLabelKeys ?? [], 'notin'],
  ] as const)
    for (const key of keys) {
      const value = owner.metadata.labels?.[key];
      if (value !== undefined) requirements.push({ key, operator, values: [value] });
    }
  const merged: LabelSelector = { requirements, nothing: selector.nothing };
  const named = term.namespaces ?? [];
  const byLabels = term.namespaceSelector === undefined ? undefined : labelSelectorOf(term.namespaceSelector);
  const own = named.length === 0 && byLabels === undefined ? owner.metadata.namespace : undefined;
  return {
    topologyKey: term.topologyKey,
    matches: (pod) => {
      const namespace = pod.metadata.namespace ?? '';
      const inNamespace =
        namespace === own ||
        named.includes(namespace) ||
        (byLabels !== undefined && matchesLabels(byLabels, namespaceLabels(namespace)));
      return inNamespace && matchesLabels(merged, pod.metadata.labels);
    },
  };
}

/** Counts by topology key and value. */
class Counts {
  readonly #counts = new Map<string, number>();
  add(key: string, node: NodeInfo, amount: number): void {
    const value = node.labels[key];
    if (value === undefined) return;
    const place = `${key}\0${value}`;
    this.#counts.set(place, (this.#counts.get(place) ?? 0) + amount);
  }
  at(key: string, node: NodeInfo): number {
    const value = node.labels[key];
    return value === undefined ? 0 : (this.#counts.get(`${key}\0${value}`) ?? 0);
  }
  /** All counts at a node's places. */
  sumAt(node: NodeInfo): number {
    let sum = 0;
    for (const [place, count] of this.#counts) {
      const cut = place.indexOf('\0');
      if (node.labels[place.slice(0, cut)] === place.slice(cut + 1)) sum += count;
    }
    return sum;
  }
  get empty(): boolean {
    return this.#counts.size === 0;
  }
}

/** How much a required affinity of a pod that runs counts as a preference for the newcomer (upstream's HardPodAffinityWeight). */
const hardAffinityWeight = 1;

/** Affinity and anti-affinity between pods, of the newcomer and of those that run (kube-scheduler's interpodaffinity). */
export function interPodAffinity(namespaceLabels: NamespaceLabels): Plugin {
  let idle = true;
  let affinity: Term[] = [];
  let antiAffinity: Term[] = [];
  /** Places where running pods do not want the newcomer. */
  let refused = new Counts();
  let wanted = new Counts();
  let unwanted = new Counts();
  /** The newcomer would be the first of its group: its own terms match itself. */
  let first = false;
  let liked = new Counts();
  let range = { min: 0, max: 0 };

  return {
    name: 'InterPodAffinity',
    weight: 2,
    preFilter(pod, nodes) {
      const own = pod.spec?.affinity;
      idle =
        own?.podAffinity === undefined &&
        own?.podAntiAffinity === undefined &&
        !nodes.some((node) => node.hasPodsWithAffinity);
      if (idle) return undefined;
      const terms = (list: readonly PodAffinityTerm[] | undefined): Term[] =>
        (list ?? []).map((term) => termOf(pod, term, namespaceLabels));
      affinity = terms(own?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution);
      antiAffinity = terms(own?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution);
      const preferred = [
        ...(own?.podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((one) => ({
          weight: one.weight,
          term: termOf(pod, one.podAffinityTerm, namespaceLabels),
        })),
        ...(own?.podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((one) => ({
          weight: -one.weight,
          term: termOf(pod, one.podAffinityTerm, namespaceLabels),
        })),
      ];
      refused = new Counts();
      wanted = new Counts();
      unwanted = new Counts();
      liked = new Counts();
      const looks = affinity.length + antiAffinity.length + preferred.length > 0;
      for (const node of nodes) {
        if (looks)
          for (const other of node.pods()) {
            if (other.metadata.deletionTimestamp !== undefined && other.metadata.uid === pod.metadata.uid) continue;
            if (affinity.length > 0 && affinity.every((term) => term.matches(other)))
              for (const term of affinity) wanted.add(term.topologyKey, node, 1);
            for (const term of antiAffinity) if (term.matches(other)) unwanted.add(term.topologyKey, node, 1);
            for (const { weight, term } of preferred)
              if (term.matches(other)) liked.add(term.topologyKey, node, weight);
          }
        for (const other of node.podsWithAffinity) meet(other, pod, node);
      }
      first = wanted.empty && affinity.every((term) => term.matches(pod));
      range = { min: 0, max: 0 };
      for (const node of nodes) {
        const sum = liked.sumAt(node);
        range = { min: Math.min(range.min, sum), max: Math.max(range.max, sum) };
      }
      return undefined;
    },
    filter(_pod, node): Rejection | undefined {
      if (idle) return undefined;
      if (affinity.length > 0) {
        const placed = affinity.every((term) => node.labels[term.topologyKey] !== undefined);
        const satisfied = placed && (first || affinity.every((term) => wanted.at(term.topologyKey, node) > 0));
        if (!satisfied) return { reason: "node(s) didn't match pod affinity rules", unresolvable: true };
      }
      if (antiAffinity.some((term) => unwanted.at(term.topologyKey, node) > 0))
        return { reason: "node(s) didn't match pod anti-affinity rules" };
      if (refused.sumAt(node) > 0) return { reason: "node(s) didn't satisfy existing pods anti-affinity rules" };
      return undefined;
    },
    score(_pod, node) {
      if (idle || range.max === range.min) return 0;
      return Math.round(((liked.sumAt(node) - range.min) / (range.max - range.min)) * maxScore);
    },
  };

  /** What a running pod thinks of the newcomer. */
  function meet(other: Pod, pod: Pod, node: NodeInfo): void {
    const theirs = other.spec?.affinity;
    for (const term of theirs?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [])
      if (termOf(other, term, namespaceLabels).matches(pod)) refused.add(term.topologyKey, node, 1);
    for (const term of theirs?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [])
      if (termOf(other, term, namespaceLabels).matches(pod)) liked.add(term.topologyKey, node, hardAffinityWeight);
    for (const { weight, podAffinityTerm } of theirs?.podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ??
      [])
      if (termOf(other, podAffinityTerm, namespaceLabels).matches(pod))
        liked.add(podAffinityTerm.topologyKey, node, weight);
    for (const { weight, podAffinityTerm } of theirs?.podAntiAffinity
      ?.preferredDuringSchedulingIgnoredDuringExecution ?? [])
      if (termOf(other, podAffinityTerm, namespaceLabels).matches(pod))
        liked.add(podAffinityTerm.topologyKey, node, -weight);
  }
}
