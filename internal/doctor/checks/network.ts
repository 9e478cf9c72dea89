import { isIPv4 } from '../../config/cidr.ts';
import type { Config } from '../../config/config.ts';
import { programFor } from '../../config/paths.ts';
import { type Check, fail, type Finding, ok, unknown, warn } from '../check.ts';
import { type DroppingChain, isUnknown } from '../facts.ts';

/** A port that this configuration takes. */
export interface WantedPort {
  readonly port: number;
  readonly protocols: readonly ('tcp' | 'udp')[];
  readonly what: string;
  /** Where it is listened on. */
  readonly at: 'every address' | readonly string[];
  /** The key that changes it. */
  readonly key: string;
}

/** The ports that a node with this configuration listens on. */
export function wantedPorts({ datastore, node, ports, roles }: Config): WantedPort[] {
  const everywhere = { at: 'every address' } as const;
  const own = { at: [node.ip] };
  const all: (WantedPort & { role: Config['roles'][number] })[] = [
    {
      role: 'server',
      ...everywhere,
      port: ports.api,
      protocols: ['tcp'],
      what: 'the Kubernetes API',
      key: 'ports.api',
    },
    ...(datastore === undefined
      ? ([
          {
            role: 'server',
            at: [node.ip, '127.0.0.1'],
            port: ports.etcd,
            protocols: ['tcp'],
            what: 'the store as etcd',
            key: 'ports.etcd',
          },
          {
            role: 'server',
            ...everywhere,
            port: ports.etcdPeer,
            protocols: ['tcp'],
            what: 'other servers',
            key: 'ports.etcdPeer',
          },
        ] as const)
      : []),
    {
      role: 'agent',
      ...everywhere,
      port: ports.kubelet,
      protocols: ['tcp'],
      what: 'the kubelet',
      key: 'ports.kubelet',
    },
    { role: 'agent', ...own, port: ports.dns, protocols: ['tcp', 'udp'], what: 'the cluster DNS', key: 'ports.dns' },
    { role: 'mon', ...own, port: ports.mon, protocols: ['tcp'], what: 'the Ceph monitor', key: 'ports.mon' },
    { role: 'mon', ...own, port: ports.monPeer, protocols: ['tcp'], what: 'other monitors', key: 'ports.monPeer' },
    { role: 'mgr', ...own, port: ports.prometheus, protocols: ['tcp'], what: 'metrics', key: 'ports.prometheus' },
    { role: 'rgw', ...own, port: ports.rgw, protocols: ['tcp'], what: 'S3', key: 'ports.rgw' },
  ];
  return all.filter(({ role }) => roles.includes(role)).map(({ role: _role, ...port }) => port);
}

/** What OSDs, mgr and mds listen on: the first that are free from here on (Ceph's ms_bind_port_min and ms_bind_port_max). */
export function cephPorts({ ports, roles }: Config): { first: number; last: number } | undefined {
  if (!roles.some((role) => role === 'osd' || role === 'mgr' || role === 'mds')) return undefined;
  return { first: ports.ceph, last: Math.min(65_535, ports.ceph + 500) };
}

/** Two cannot listen at the same address and port, and every address has each of IPv4 (bind(2), EADDRINUSE). One of IPv6 alone is another. */
function inTheWay(address: string, at: WantedPort['at']): boolean {
  if (address === '') return true;
  return at === 'every address' ? isIPv4(address) : at.includes(address);
}

const ports: Check = {
  id: 'ports',
  title: 'ports',
  why: 'A role cannot start while another program has its port.',
  needs: ['listeners'],
  blocking: true,
  evaluate({ listeners }, config) {
    if (isUnknown(listeners)) return unknown(`not known: ${listeners.unknown}`);
    const wanted = wantedPorts(config);
    const others = new Map<string, { pid: number; ports: string[] }>();
    const taken = wanted.flatMap(({ at, key, port, protocols, what }): Finding[] =>
      protocols.flatMap((protocol): Finding[] => {
        const other = listeners.find(
          (one) => one.port === port && one.protocol === protocol && !one.own && inTheWay(one.address, at),
        );
        if (!other) return [];
        if (other.otherAppliance) {
          const { pid, runDir } = other.otherAppliance;
          others.set(runDir, { pid, ports: [...(others.get(runDir)?.ports ?? []), `${port}/${protocol} (${what})`] });
          return [];
        }
        // A process that cannot be seen may be one of ours that is just ending.
        if (other.pid === undefined)
          return [warn(`${port}/${protocol} (${what}) is in use by a process that is not shown`, 'run doctor as root')];
        return [
          fail(
            `${port}/${protocol} (${what}) is in use by ${other.command} (process ${other.pid})`,
            `stop it (\`systemctl status ${other.pid}\` names its unit), or set ${key} to a free port`,
          ),
        ];
      }),
    );
    for (const [runDir, { pid, ports: held }] of others)
      taken.push(
        fail(
          `another appliance runs here (process ${pid}) and has ${held.join(', ')}`,
          `\`${programFor({ runDir })} status\` shows it, \`${programFor({ runDir })} down\` stops it; to have both, give this one other \`ports\`, or a network namespace of its own`,
        ),
      );
    if (taken.length > 0) return taken;
    const ceph = cephPorts(config);
    const all = [
      ...wanted.map(({ port }) => String(port)),
      ...(ceph ? [`the first free ones from ${ceph.first} on`] : []),
    ];
    return ok(all.join(', ') || 'none needed');
  },
};

const tunnels: Check = {
  id: 'tunnel',
  title: 'tunnel to other nodes',
  why: 'Two tunnels with the same number on one port cannot be: a left-over one of another cluster stops ours.',
  needs: ['tunnels'],
  concerns: ({ cluster, roles }) => roles.includes('agent') && ['vxlan', 'auto'].includes(cluster.networkBackend),
  evaluate({ tunnels: list }) {
    if (isUnknown(list)) return unknown(`not known: ${list.unknown}`);
    const foreign = list.filter((one) => !one.own && one.port === 8472 && one.id === 1);
    return foreign.length === 0
      ? ok('8472/udp is free or ours')
      : foreign.map(({ name }) =>
          fail(
            `the interface ${name} has tunnel 1 on 8472/udp: of K3s or flannel, it seems`,
            `stop and uninstall that (k3s-killall.sh), or \`ip link delete ${name}\``,
          ),
        );
  },
};

const address: Check = {
  id: 'node-address',
  title: 'address of the node',
  why: 'Clients and other nodes reach this one by it.',
  needs: ['addresses'],
  blocking: true,
  evaluate: ({ addresses }, { node }) =>
    addresses.includes(node.ip)
      ? ok(node.ip)
      : fail(
          `node.ip ${node.ip} is not an address of this machine`,
          `it has ${addresses.join(', ')}; leave node.ip away to take the one of the default route`,
        ),
};

function firewallFix(chain: DroppingChain, config: Config): string {
  const { podCIDR, serviceCIDR } = config.cluster;
  const open = wantedPorts(config).flatMap(({ port, protocols }) => protocols.map((protocol) => `${port}/${protocol}`));
  const ceph = cephPorts(config);
  const range = (between: string): string[] => (ceph ? [`${ceph.first}${between}${ceph.last}/tcp`] : []);
  const input: Record<DroppingChain['owner'], string> = {
    docker: '',
    ufw: [...open, ...range(':'), '8472/udp', '5353/udp'].map((port) => `ufw allow ${port}`).join('; '),
    firewalld: `firewall-cmd --permanent ${[...open, ...range('-'), '8472/udp'].map((port) => `--add-port=${port}`).join(' ')} && firewall-cmd --reload`,
    unknown: `accept ${[...open, ...range('-')].join(', ')} and 8472/udp in the chain ${chain.chain} of table ${chain.family} ${chain.table}`,
  };
  const forward: Record<DroppingChain['owner'], string> = {
    docker: `iptables -I DOCKER-USER -s ${podCIDR} -j ACCEPT; iptables -I DOCKER-USER -d ${podCIDR} -j ACCEPT (again after each start of Docker; Docker 28 and later: "ip-forward-no-drop": true in /etc/docker/daemon.json)`,
    ufw: `ufw route allow from ${podCIDR}; ufw route allow to ${podCIDR}`,
    firewalld: `firewall-cmd --permanent --zone=trusted --add-source=${podCIDR} --add-source=${serviceCIDR} && firewall-cmd --reload`,
    unknown: `accept packets from and to ${podCIDR} in the chain ${chain.chain} of table ${chain.family} ${chain.table}`,
  };
  return (chain.hook === 'input' ? input : forward)[chain.owner];
}

const firewall: Check = {
  id: 'firewall',
  title: 'foreign firewall rules',
  why: 'Every table of the packet filter must let a packet pass: what Docker, ufw or firewalld drop, pods never see.',
  needs: ['firewall'],
  concerns: ({ roles }) => roles.includes('agent') || roles.includes('server'),
  evaluate({ firewall: chains }, config) {
    if (isUnknown(chains)) return unknown(`not known: ${chains.unknown}`);
    const findings = chains.map((chain): Finding => {
      const name = `${chain.family} ${chain.table} ${chain.chain}${chain.owner === 'unknown' ? '' : ` (${chain.owner})`}`;
      if (chain.hook === 'input') {
        if (chain.owner === 'docker') return ok(`${name} drops other incoming packets`);
        return warn(`${name} drops incoming packets that it does not name`, firewallFix(chain, config));
      }
      if (chain.letsPods) return ok(`${name} drops forwarded packets, but not those of the pods`);
      return fail(`${name} drops forwarded packets: pods reach nothing beyond their node`, firewallFix(chain, config));
    });
    return findings.length > 0 ? findings : ok('none that drop packets');
  },
};

export const networkChecks: readonly Check[] = [address, ports, tunnels, firewall];
