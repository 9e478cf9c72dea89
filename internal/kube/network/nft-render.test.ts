import { describe, expect, test } from 'vitest';
import type { EndpointSlice, Service } from '../api/types.ts';
import { type NftNames, type NftSettings, renderNft } from './nft-render.ts';
import { servicePortRules } from './service-rules.ts';

const settings: NftSettings = {
  table: 'appliance_test',
  bridge: 'cni-test',
  nodePodCIDR: '10.42.0.0/24',
  clusterPodCIDR: '10.42.0.0/16',
  serviceCIDR: '10.43.0.0/16',
  masqueradeLocal: false,
};
const nothing: NftNames = { chains: new Set(), sets: new Set() };

function service(name: string, spec: Partial<NonNullable<Service['spec']>> = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'ns' },
    spec: { type: 'ClusterIP', clusterIP: '10.43.0.7', clusterIPs: ['10.43.0.7'], ports: [{ port: 80 }], ...spec },
  };
}

function slice(name: string, endpoints: EndpointSlice['endpoints'], port = 8080): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-x`, namespace: 'ns', labels: { 'kubernetes.io/service-name': name } },
    addressType: 'IPv4',
    ports: [{ port }],
    ...(endpoints ? { endpoints } : {}),
  };
}

const ready = (ip: string) => ({ addresses: [ip], conditions: { ready: true }, nodeName: 'n1' });
const script = (services: Service[], slices: EndpointSlice[], before = nothing, s = settings) =>
  renderNft(s, servicePortRules(services, slices, 'n1'), [], before);

describe('service rules', () => {
  test('ready endpoints of all slices are backends; a headless or ExternalName service has no rule', () => {
    const rules = servicePortRules(
      [service('web'), service('none', { clusterIP: 'None' }), service('ext', { type: 'ExternalName' })],
      [
        slice('web', [ready('10.42.0.5')]),
        slice('web', [ready('10.42.0.6'), { addresses: ['10.42.0.9'], conditions: { ready: false } }]),
      ],
      'n1',
    );
    expect(rules).toHaveLength(1);
    expect(rules[0]?.backends).toEqual([
      { ip: '10.42.0.5', port: 8080 },
      { ip: '10.42.0.6', port: 8080 },
    ]);
  });

  test('endpoints that end but still serve are used while no other is ready', () => {
    const ending = { addresses: ['10.42.0.5'], conditions: { ready: false, serving: true, terminating: true } };
    expect(servicePortRules([service('web')], [slice('web', [ending])], 'n1')[0]?.backends).toHaveLength(1);
    expect(servicePortRules([service('web')], [slice('web', [ending, ready('10.42.0.6')])], 'n1')[0]?.backends).toEqual(
      [{ ip: '10.42.0.6', port: 8080 }],
    );
  });

  test('internalTrafficPolicy Local keeps to this node', () => {
    const far = { addresses: ['10.42.1.5'], conditions: { ready: true }, nodeName: 'n2' };
    const rules = servicePortRules([service('web', { internalTrafficPolicy: 'Local' })], [slice('web', [far])], 'n1');
    expect(rules[0]?.backends).toEqual([]);
  });
});

describe('topology', () => {
  const hinted = (ip: string, forNode: string | undefined, isReady = true) => ({
    addresses: [ip],
    conditions: { ready: isReady },
    ...(forNode === undefined ? {} : { hints: { forNodes: [{ name: forNode }] } }),
  });
  const backends = (...endpoints: EndpointSlice['endpoints'] & object) =>
    servicePortRules([service('web')], [slice('web', endpoints)], 'n1')[0]?.backends.map(({ ip }) => ip);

  test('endpoints that are hinted for this node are used alone', () => {
    expect(backends(hinted('10.42.0.5', 'n1'), hinted('10.42.1.5', 'n2'))).toEqual(['10.42.0.5']);
  });

  test('hints do not count when one ready endpoint has none, when none names this node, and while the named one is not ready', () => {
    expect(backends(hinted('10.42.0.5', 'n1'), hinted('10.42.1.5', undefined))).toHaveLength(2);
    expect(backends(hinted('10.42.1.5', 'n2'), hinted('10.42.2.5', 'n3'))).toHaveLength(2);
    expect(backends(hinted('10.42.0.5', 'n1', false), hinted('10.42.1.5', 'n2'))).toEqual(['10.42.1.5']);
  });
});

describe('other nodes', () => {
  const far = { addresses: ['10.42.1.5'], conditions: { ready: true }, nodeName: 'n2' };
  const local = service('web', {
    type: 'NodePort',
    externalTrafficPolicy: 'Local',
    ports: [{ port: 80, nodePort: 30080 }],
  });
  const rulesOf = (text: string, chain: RegExp): string[] =>
    text.split('\n').flatMap((line) => {
      const match = /^add rule ip appliance_test (\S+) (.*)$/.exec(line);
      return match && chain.test(match[1]!) ? [match[2]!] : [];
    });

  test('pods keep their address on the way to a pod of another node, all others are masqueraded', () => {
    const { script: text } = script([service('web')], [slice('web', [far])]);
    expect(rulesOf(text, /^svc_.*_8080$/)).toEqual([
      'ip saddr { 10.42.1.5, 127.0.0.0/8 } meta mark set meta mark or 0x4000',
      'ip saddr != 10.42.0.0/24 meta mark set meta mark or 0x4000',
      'meta l4proto tcp dnat to 10.42.1.5:8080',
    ]);
    expect(text).toContain('ip saddr 10.42.0.0/24 ip daddr != 10.42.0.0/16');
  });

  test('externalTrafficPolicy Local without a backend here: from outside refused, from inside the cluster forwarded', () => {
    const { script: text } = script([local], [slice('web', [far])]);
    expect(rulesOf(text, /^ext_[0-9a-f]+$/)).toEqual([
      expect.stringMatching(/^ip saddr 10\.42\.0\.0\/16 goto svc_\w+$/),
      expect.stringMatching(/^fib saddr type local goto svc_\w+$/),
    ]);
    expect(text).toMatch(/node_ports \{ tcp \. 30080 : goto ext_/);
    expect(text).toContain('dead_node_ports { tcp . 30080 : goto refuse }');
  });

  test('externalTrafficPolicy Local with a backend here: what comes from outside stays and keeps its address', () => {
    const { script: text } = script([local], [slice('web', [far, ready('10.42.0.5')])]);
    expect(rulesOf(text, /^ext_[0-9a-f]+$/).at(-1)).toMatch(/^goto ext_\w+_10_42_0_5_8080$/);
    expect(rulesOf(text, /^ext_.*_8080$/)).toEqual([
      'ip saddr { 10.42.0.5, 127.0.0.0/8 } meta mark set meta mark or 0x4000',
      'meta l4proto tcp dnat to 10.42.0.5:8080',
    ]);
    expect(text).not.toContain('dead_node_ports { tcp');
  });
});

describe('nftables transaction', () => {
  test('a service with two backends is balanced at random', () => {
    const { names, script: text } = script([service('web')], [slice('web', [ready('10.42.0.5'), ready('10.42.0.6')])]);
    expect(text).toMatch(/numgen random mod 2 vmap \{ 0 : goto svc_\w+, 1 : goto svc_\w+ \}/);
    expect(text).toContain('meta l4proto tcp dnat to 10.42.0.6:8080');
    expect(text).toMatch(/add element ip appliance_test service_ips \{ 10\.43\.0\.7 \. tcp \. 80 : goto svc_/);
    expect(names.chains.size).toBe(3);
  });

  test('no endpoints: the address is refused, not forwarded', () => {
    const { script: text } = script([service('web', { type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] })], []);
    expect(text).toContain('add element ip appliance_test dead_ips { 10.43.0.7 . tcp . 80 : goto refuse }');
    expect(text).toContain('add element ip appliance_test dead_node_ports { tcp . 30080 : goto refuse }');
  });

  test('what the table holds and nobody wants any more is deleted after the rules are gone', () => {
    const first = script([service('web')], [slice('web', [ready('10.42.0.5')])]);
    const second = script([], [], first.names);
    for (const chain of first.names.chains) expect(second.script).toContain(`delete chain ip appliance_test ${chain}`);
    expect(second.script.indexOf('flush table')).toBeLessThan(second.script.indexOf('delete chain'));
    expect(second.names.chains.size).toBe(0);
  });

  test('session affinity keeps its sets from one transaction to the next', () => {
    const sticky = service('web', { sessionAffinity: 'ClientIP' });
    const slices = [slice('web', [ready('10.42.0.5'), ready('10.42.0.6')])];
    const first = script([sticky], slices);
    expect(first.script).toMatch(
      /add set ip appliance_test aff_10800_\w+ \{ type ipv4_addr; flags dynamic,timeout; timeout 10800s;/,
    );
    const second = script([sticky], slices, first.names);
    expect(second.script).not.toContain('add set');
    expect(second.script).not.toContain('delete set');
    const third = script([service('web')], slices, second.names);
    expect(third.script.match(/delete set/g)).toHaveLength(2);
  });

  test('without br_netfilter, connections between pods of the node are masqueraded', () => {
    const rule = 'ip saddr 10.42.0.0/24 meta mark set meta mark or 0x4000';
    const slices = [slice('web', [ready('10.42.0.5')])];
    expect(script([service('web')], slices).script).not.toContain(rule);
    expect(script([service('web')], slices, nothing, { ...settings, masqueradeLocal: true }).script).toContain(rule);
  });

  test('host ports: any address and a certain one', () => {
    const { script: text } = renderNft(
      settings,
      [],
      [
        { protocol: 'tcp', hostIP: '', hostPort: 80, podIP: '10.42.0.5', containerPort: 8080 },
        { protocol: 'udp', hostIP: '127.0.0.1', hostPort: 53, podIP: '10.42.0.6', containerPort: 53 },
      ],
      nothing,
    );
    expect(text).toContain('host_ports { tcp . 80 : goto hp_tcp_any_80 }');
    expect(text).toContain('host_ip_ports { 127.0.0.1 . udp . 53 : goto hp_udp_127_0_0_1_53 }');
  });

  test('one external address that two services claim goes to the first', () => {
    const slices = [slice('a', [ready('10.42.0.5')]), slice('b', [ready('10.42.0.6')])];
    const { script: text } = script(
      [
        service('a', { clusterIP: '10.43.0.8', clusterIPs: ['10.43.0.8'], externalIPs: ['192.0.2.1'] }),
        service('b', { externalIPs: ['192.0.2.1'] }),
      ],
      slices,
    );
    expect(text.match(/192\.0\.2\.1 \. tcp \. 80/g)).toHaveLength(1);
  });
});
