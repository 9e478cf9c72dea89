import { type Backend, type HostPort, inNetwork, type ServicePortRule } from './service-rules.ts';

/** What is the same for the life of the node. */
export interface NftSettings {
  readonly table: string;
  readonly bridge: string;
  readonly nodePodCIDR: string;
  readonly clusterPodCIDR: string;
  readonly serviceCIDR: string;
  /**
   * True where frames between pods of one bridge pass by the packet filter (no br_netfilter). An answer from pod to pod would then keep
   * the backend's address, so the connection is masqueraded to make the answer come back through the node.
   */
  readonly masqueradeLocal: boolean;
}

/** Names in the table that outlive a transaction: what is no longer wanted has to be deleted by name. */
export interface NftNames {
  readonly chains: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
}

export interface NftTransaction {
  readonly script: string;
  readonly names: NftNames;
}

/** The bit that marks packets to be masqueraded, the one that kube-proxy uses. */
const mark = '0x4000';

const fixedMaps = {
  service_ips: 'ipv4_addr . inet_proto . inet_service : verdict',
  node_ports: 'inet_proto . inet_service : verdict',
  host_ports: 'inet_proto . inet_service : verdict',
  host_ip_ports: 'ipv4_addr . inet_proto . inet_service : verdict',
  dead_ips: 'ipv4_addr . inet_proto . inet_service : verdict',
  dead_node_ports: 'inet_proto . inet_service : verdict',
} as const;

type MapName = keyof typeof fixedMaps;

/**
 * One nftables transaction that makes the table what `rules` and `hostPorts` say. Sets of session affinity keep what they remember.
 * `before` names what the table holds from earlier transactions.
 */
export function renderNft(
  settings: NftSettings,
  rules: readonly ServicePortRule[],
  hostPorts: readonly HostPort[],
  before: NftNames,
): NftTransaction {
  const { table } = settings;
  const elements: Record<MapName, string[]> = {
    service_ips: [],
    node_ports: [],
    host_ports: [],
    host_ip_ports: [],
    dead_ips: [],
    dead_node_ports: [],
  };
  const chains = new Map<string, string[]>();
  const sets = new Map<string, number>();
  const once = new Set<string>();
  const put = (map: MapName, key: string, verdict: string): void => {
    // Two services may claim one external address or port: the first in order has it.
    if (once.has(`${map} ${key}`)) return;
    once.add(`${map} ${key}`);
    elements[map].push(`${key} : ${verdict}`);
  };

  for (const rule of rules) {
    const suffix = `${rule.protocol} . ${rule.port}`;
    const internal = `svc_${rule.id}`;
    if (rule.backends.length > 0) {
      addBalancer(settings, chains, sets, internal, rule, rule.backends, []);
      for (const ip of rule.clusterIPs) put('service_ips', `${ip} . ${suffix}`, `goto ${internal}`);
    } else for (const ip of rule.clusterIPs) put('dead_ips', `${ip} . ${suffix}`, 'goto refuse');
    if (rule.externalIPs.length === 0 && rule.nodePort === 0) continue;
    const external = `ext_${rule.id}`;
    // With the policy Local only what comes from outside keeps to this node; the cluster's own traffic goes where it would go by the cluster IP.
    const inside =
      rule.externalLocal && rule.backends.length > 0
        ? [`ip saddr ${settings.clusterPodCIDR} goto ${internal}`, `fib saddr type local goto ${internal}`]
        : [];
    if (rule.externalBackends.length > 0 || inside.length > 0) {
      addBalancer(settings, chains, sets, external, rule, rule.externalBackends, inside);
      for (const ip of rule.externalIPs) put('service_ips', `${ip} . ${suffix}`, `goto ${external}`);
      if (rule.nodePort > 0) put('node_ports', `${rule.protocol} . ${rule.nodePort}`, `goto ${external}`);
    }
    if (rule.externalBackends.length === 0) {
      for (const ip of rule.externalIPs) put('dead_ips', `${ip} . ${suffix}`, 'goto refuse');
      if (rule.nodePort > 0) put('dead_node_ports', `${rule.protocol} . ${rule.nodePort}`, 'goto refuse');
    }
  }
  for (const port of hostPorts) {
    const name = `hp_${port.protocol}_${port.hostIP === '' ? 'any' : port.hostIP.replaceAll('.', '_')}_${port.hostPort}`;
    chains.set(name, [
      `ip saddr { ${port.podIP}, 127.0.0.0/8 } meta mark set meta mark or ${mark}`,
      ...(settings.masqueradeLocal ? [`ip saddr ${settings.nodePodCIDR} meta mark set meta mark or ${mark}`] : []),
      `meta l4proto ${port.protocol} dnat to ${port.podIP}:${port.containerPort}`,
    ]);
    if (port.hostIP === '' || port.hostIP === '0.0.0.0')
      put('host_ports', `${port.protocol} . ${port.hostPort}`, `goto ${name}`);
    else put('host_ip_ports', `${port.hostIP} . ${port.protocol} . ${port.hostPort}`, `goto ${name}`);
  }

  const lines = [`add table ip ${table}`, `flush table ip ${table}`];
  for (const [name, type] of Object.entries(fixedMaps)) {
    lines.push(`add map ip ${table} ${name} { type ${type}; }`, `flush map ip ${table} ${name}`);
  }
  for (const [name, seconds] of sets)
    if (!before.sets.has(name))
      lines.push(
        `add set ip ${table} ${name} { type ipv4_addr; flags dynamic,timeout; timeout ${seconds}s; size 65535; }`,
      );
  const base = baseChains(settings);
  for (const [name, { hook }] of Object.entries(base))
    lines.push(`add chain ip ${table} ${name}${hook ? ` { ${hook} }` : ''}`);
  for (const name of chains.keys()) lines.push(`add chain ip ${table} ${name}`);
  for (const [name, { rules: list }] of Object.entries(base))
    for (const text of list) lines.push(`add rule ip ${table} ${name} ${text}`);
  for (const [name, list] of chains) for (const text of list) lines.push(`add rule ip ${table} ${name} ${text}`);
  for (const [name, list] of Object.entries(elements))
    if (list.length > 0) lines.push(`add element ip ${table} ${name} { ${list.join(', ')} }`);
  for (const name of before.chains) if (!chains.has(name)) lines.push(`delete chain ip ${table} ${name}`);
  for (const name of before.sets) if (!sets.has(name)) lines.push(`delete set ip ${table} ${name}`);
  return { script: `${lines.join('\n')}\n`, names: { chains: new Set(chains.keys()), sets: new Set(sets.keys()) } };
}

/** A chain that begins with `first` and picks a backend, and one chain a backend. Without backends it returns: what was not translated is refused later. */
function addBalancer(
  settings: NftSettings,
  chains: Map<string, string[]>,
  sets: Map<string, number>,
  name: string,
  rule: ServicePortRule,
  backends: readonly Backend[],
  first: readonly string[],
): void {
  const targets = backends.map((backend) => `${name}_${backend.ip.replaceAll('.', '_')}_${backend.port}`);
  const pick: string[] = [...first];
  // The time is part of the name because a set's timeout cannot be changed in place.
  const memory = (target: string): string => `aff_${rule.affinitySeconds}_${target}`;
  if (rule.affinitySeconds > 0) for (const target of targets) pick.push(`ip saddr @${memory(target)} goto ${target}`);
  if (targets.length > 0)
    pick.push(
      targets.length === 1
        ? `goto ${targets[0]}`
        : `numgen random mod ${targets.length} vmap { ${targets.map((target, i) => `${i} : goto ${target}`).join(', ')} }`,
    );
  chains.set(name, pick);
  backends.forEach((backend, i) => {
    const target = targets[i]!;
    const own = inNetwork(settings.nodePodCIDR, backend.ip);
    const steps: string[] = [];
    // A pod that reaches itself, and a program of the node that comes from 127.0.0.1, could not be answered under their own address.
    steps.push(`ip saddr { ${backend.ip}, 127.0.0.0/8 } meta mark set meta mark or ${mark}`);
    if (own && settings.masqueradeLocal)
      steps.push(`ip saddr ${settings.nodePodCIDR} meta mark set meta mark or ${mark}`);
    // An answer from elsewhere would not come back through this node by itself.
    // Pods of this node keep their address: answers to them do.
    if (!own) steps.push(`ip saddr != ${settings.nodePodCIDR} meta mark set meta mark or ${mark}`);
    if (rule.affinitySeconds > 0) {
      sets.set(memory(target), rule.affinitySeconds);
      steps.push(`update @${memory(target)} { ip saddr }`);
    }
    steps.push(`meta l4proto ${rule.protocol} dnat to ${backend.ip}:${backend.port}`);
    chains.set(target, steps);
  });
}

function baseChains(settings: NftSettings): Record<string, { hook: string; rules: string[] }> {
  const { bridge, clusterPodCIDR, nodePodCIDR, serviceCIDR } = settings;
  const key = 'meta l4proto . th dport';
  return {
    prerouting: { hook: 'type nat hook prerouting priority dstnat; policy accept;', rules: ['goto services'] },
    output: { hook: 'type nat hook output priority -100; policy accept;', rules: ['goto services'] },
    postrouting: {
      hook: 'type nat hook postrouting priority srcnat; policy accept;',
      rules: [
        `meta mark and ${mark} == ${mark} meta mark set meta mark xor ${mark} masquerade fully-random`,
        `ip saddr ${nodePodCIDR} ip daddr != ${clusterPodCIDR} ip daddr != 224.0.0.0/4 oifname != "${bridge}" masquerade fully-random`,
      ],
    },
    services: {
      hook: '',
      rules: [
        `ip daddr . ${key} vmap @service_ips`,
        `ip daddr . ${key} vmap @host_ip_ports`,
        `fib daddr type local ${key} vmap @host_ports`,
        `fib daddr type local ip daddr != 127.0.0.0/8 ${key} vmap @node_ports`,
      ],
    },
    refuse: { hook: '', rules: ['meta l4proto tcp reject with tcp reset', 'reject'] },
    unserved: {
      hook: '',
      rules: [
        `ip daddr . ${key} vmap @dead_ips`,
        `fib daddr type local ${key} vmap @dead_node_ports`,
        // Whatever was not translated is for no service that exists.
        `ip daddr ${serviceCIDR} goto refuse`,
      ],
    },
    filter_input: {
      hook: 'type filter hook input priority -110; policy accept;',
      rules: ['ct state new goto unserved'],
    },
    filter_forward: {
      hook: 'type filter hook forward priority -110; policy accept;',
      rules: ['ct state new goto unserved'],
    },
    filter_output: {
      hook: 'type filter hook output priority -90; policy accept;',
      rules: ['ct state new goto unserved'],
    },
    // route_localnet lets 127.0.0.1 leave by the bridge for host ports; nobody may come in by that way.
    raw_prerouting: {
      hook: 'type filter hook prerouting priority raw; policy accept;',
      rules: ['iifname != "lo" ip daddr 127.0.0.0/8 drop'],
    },
  };
}

/** The table's name for an appliance. */
export function nftTable(applianceId: string): string {
  return `appliance_${applianceId}`;
}
