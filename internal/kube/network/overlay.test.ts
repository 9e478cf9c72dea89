import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import type { Node } from '../api/types.ts';
import {
  actualOverlay,
  annotation,
  canonicalCidr,
  desiredOverlay,
  type Overlay,
  type OverlayBackend,
  type OverlaySelf,
  overlayChanges,
  ownAnnotations,
  vtepMac,
} from './overlay.ts';

const self = (backend: OverlayBackend, more: Partial<OverlaySelf> = {}): OverlaySelf => ({
  nodeName: 'n1',
  ip: '192.0.2.1',
  podCIDR: '10.42.0.0/24',
  clusterPodCIDR: '10.42.0.0/16',
  backend,
  device: backend === 'host-gw' ? undefined : 'vxlan-1',
  link: 'eth0',
  linkNetworks: ['192.0.2.0/24'],
  ...more,
});
const node = (name: string, podCIDR: string | undefined, ip: string, mac = true, more: object = {}): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name, annotations: { ...ownAnnotations(ip, mac ? vtepMac(name) : undefined), ...more } },
  spec: podCIDR === undefined ? {} : { podCIDR },
});
const near = node('n2', '10.42.1.0/24', '192.0.2.2');
const far = node('n3', '10.42.2.0/24', '198.51.100.3');
const shape = ({ forwarding, neighbours, routes }: Overlay) => ({
  routes: Object.fromEntries(routes),
  neighbours: Object.fromEntries(neighbours),
  forwarding: Object.fromEntries(forwarding),
});
const empty: Overlay = { routes: new Map(), neighbours: new Map(), forwarding: new Map() };

describe('ways to the pods of other nodes', () => {
  test('vxlan: every node in the tunnel, also one on the same link', () => {
    const { overlay, unreachable } = desiredOverlay(
      [node('n1', '10.42.0.0/24', '192.0.2.1'), near, far],
      self('vxlan'),
    );
    expect(unreachable).toEqual([]);
    expect(shape(overlay)).toEqual({
      routes: {
        '10.42.1.0/24': { via: '10.42.1.0', dev: 'vxlan-1', onlink: true },
        '10.42.2.0/24': { via: '10.42.2.0', dev: 'vxlan-1', onlink: true },
      },
      neighbours: { '10.42.1.0': vtepMac('n2'), '10.42.2.0': vtepMac('n3') },
      forwarding: { [vtepMac('n2')]: '192.0.2.2', [vtepMac('n3')]: '198.51.100.3' },
    });
  });

  test('auto: plain routes on the link, the tunnel beyond it', () => {
    const { overlay } = desiredOverlay([near, far], self('auto'));
    expect(Object.fromEntries(overlay.routes)).toEqual({
      '10.42.1.0/24': { via: '192.0.2.2', dev: 'eth0', onlink: false },
      '10.42.2.0/24': { via: '10.42.2.0', dev: 'vxlan-1', onlink: true },
    });
    expect(overlay.forwarding.size).toBe(1);
  });

  test('host-gw: a node beyond the link cannot be reached, and is named', () => {
    const { overlay, unreachable } = desiredOverlay([near, far], self('host-gw'));
    expect([...overlay.routes.keys()]).toEqual(['10.42.1.0/24']);
    expect(unreachable).toEqual([
      { node: 'n3', why: expect.stringContaining('198.51.100.3 is not on the link of this node (192.0.2.0/24)') },
    ]);
  });

  test('a node whose kernel has no tunnel is reached by a plain route also by those that have one', () => {
    const plain = node('n2', '10.42.1.0/24', '192.0.2.2', false);
    expect(Object.fromEntries(desiredOverlay([plain], self('vxlan')).overlay.routes)).toEqual({
      '10.42.1.0/24': { via: '192.0.2.2', dev: 'eth0', onlink: false },
    });
  });

  test("K3s' flannel annotations are read, an overwritten address counts", () => {
    const mac = '5e:2b:11:22:33:44';
    const k3s = node('n2', '10.42.1.0/24', '10.0.0.5', true, {
      [annotation.backendData]: `{"VNI":1,"VtepMAC":"${mac.toUpperCase()}"}`,
      [annotation.publicIPOverwrite]: '203.0.113.9',
    });
    expect(Object.fromEntries(desiredOverlay([k3s], self('vxlan')).overlay.forwarding)).toEqual({
      [mac]: '203.0.113.9',
    });
  });

  test('a node that has no pod network or has not said how it is reached is waited for', () => {
    const silent: Node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: 'n4' },
      spec: { podCIDR: '10.42.4.0/24' },
    };
    expect(desiredOverlay([node('n2', undefined, '192.0.2.2'), silent], self('vxlan'))).toEqual({
      overlay: empty,
      unreachable: [],
    });
  });

  test.each([
    ['outside the cluster', node('n2', '10.99.0.0/24', '192.0.2.2'), 'not inside'],
    ['not a network', node('n2', '10.42.1.0/24; reboot', '192.0.2.2'), 'not inside'],
    ['an overlap with this node', node('n2', '10.42.0.128/25', '192.0.2.2'), 'overlaps the one of n1'],
    ['no address', node('n2', '10.42.1.0/24', 'fe80::1'), 'not an IPv4 address'],
    ["this node's address", node('n2', '10.42.1.0/24', '192.0.2.1'), "which is this node's"],
  ])('refused: %s', (_name, bad, why) => {
    const { overlay, unreachable } = desiredOverlay([bad], self('vxlan'));
    expect(overlay).toEqual(empty);
    expect(unreachable).toEqual([{ node: 'n2', why: expect.stringContaining(why) }]);
  });

  test('networks are compared as the kernel writes them', () => {
    expect(canonicalCidr('10.42.1.7/24')).toBe('10.42.1.0/24');
    for (const bad of ['10.42.1.0', '10.42.1.0/33', '10.42.1/24', '::/0', '', '10.42.1.0/24/2'])
      expect(canonicalCidr(bad)).toBeUndefined();
  });
});

describe('changes', () => {
  const wanted = desiredOverlay([near, far], self('vxlan')).overlay;

  test('from nothing: forwarding and neighbours before routes', () => {
    expect(overlayChanges(empty, wanted, 'vxlan-1')).toEqual({
      bridge: [
        `fdb append ${vtepMac('n2')} dev vxlan-1 dst 192.0.2.2 self permanent`,
        `fdb append ${vtepMac('n3')} dev vxlan-1 dst 198.51.100.3 self permanent`,
      ],
      ip: [
        `neigh replace 10.42.1.0 lladdr ${vtepMac('n2')} dev vxlan-1 nud permanent`,
        `neigh replace 10.42.2.0 lladdr ${vtepMac('n3')} dev vxlan-1 nud permanent`,
        'route replace 10.42.1.0/24 via 10.42.1.0 dev vxlan-1 onlink proto 142',
        'route replace 10.42.2.0/24 via 10.42.2.0 dev vxlan-1 onlink proto 142',
      ],
    });
  });

  test('a node that moved to another address: only its forwarding entry', () => {
    const moved = desiredOverlay([near, node('n3', '10.42.2.0/24', '198.51.100.77')], self('vxlan')).overlay;
    expect(overlayChanges(wanted, moved, 'vxlan-1')).toEqual({
      bridge: [
        `fdb del ${vtepMac('n3')} dev vxlan-1 dst 198.51.100.3 self`,
        `fdb append ${vtepMac('n3')} dev vxlan-1 dst 198.51.100.77 self permanent`,
      ],
      ip: [],
    });
  });

  test('a node that is gone leaves nothing', () => {
    const changes = overlayChanges(wanted, desiredOverlay([near], self('vxlan')).overlay, 'vxlan-1');
    expect(changes.ip).toEqual(['route del 10.42.2.0/24 dev vxlan-1 proto 142', 'neigh del 10.42.2.0 dev vxlan-1']);
    expect(changes.bridge).toEqual([`fdb del ${vtepMac('n3')} dev vxlan-1 dst 198.51.100.3 self`]);
  });

  test('any sequence of clusters: changes lead from what is to what is wanted, and then there are none', () => {
    const random = seededRandom(11);
    const pick = <T>(list: readonly T[]): T => list[random.uint32() % list.length]!;
    let actual = empty;
    for (let round = 0; round < 500; round++) {
      const nodes = Array.from({ length: random.uint32() % 6 }, (_, i) =>
        node(
          `m${i}`,
          pick([undefined, `10.42.${i + 1}.0/24`, `10.42.${random.uint32() % 9}.0/24`]),
          `${pick(['192.0.2', '198.51.100'])}.${random.uint32() % 9}`,
          random.uint32() % 4 > 0,
        ),
      );
      const { overlay } = desiredOverlay(nodes, self(pick(['vxlan', 'auto']), { device: 'vxlan-1' }));
      actual = carriedOut(actual, overlayChanges(actual, overlay, 'vxlan-1'));
      expect(shape(actual)).toEqual(shape(overlay));
      expect(overlayChanges(actual, overlay, 'vxlan-1')).toEqual({ ip: [], bridge: [] });
    }
  });

  test('what iproute2 shows is read: entries of others are left out', () => {
    const shown = actualOverlay({
      routes: [{ dst: '10.42.1.0/24', gateway: '10.42.1.0', dev: 'vxlan-1' }],
      neighbours: [
        { dst: '10.42.1.0', lladdr: '02:00:00:00:00:01', state: ['PERMANENT'] },
        { dst: 'fe80::1', lladdr: '02:00:00:00:00:02', state: ['PERMANENT'] },
        { dst: '10.42.9.0', state: ['FAILED'] },
      ],
      forwarding: [{ mac: '02:00:00:00:00:01', dst: '192.0.2.2' }, { mac: '33:33:00:00:00:01' }],
    });
    expect(shape(shown)).toEqual({
      routes: { '10.42.1.0/24': { via: '10.42.1.0', dev: 'vxlan-1', onlink: false } },
      neighbours: { '10.42.1.0': '02:00:00:00:00:01' },
      forwarding: { '02:00:00:00:00:01': '192.0.2.2' },
    });
  });
});

/** What the kernel would hold after `ip -batch` and `bridge -batch`; an order that it refuses is an error. */
function carriedOut(overlay: Overlay, changes: { ip: readonly string[]; bridge: readonly string[] }): Overlay {
  const routes = new Map(overlay.routes);
  const neighbours = new Map(overlay.neighbours);
  const forwarding = new Map(overlay.forwarding);
  for (const line of [...changes.bridge, ...changes.ip]) {
    const words = line.split(' ');
    const value = (key: string): string => words[words.indexOf(key) + 1]!;
    const [what, verb, key] = words as [string, string, string];
    if (what === 'route' && verb === 'replace')
      routes.set(key, { via: value('via'), dev: value('dev'), onlink: words.includes('onlink') });
    else if (what === 'neigh' && verb === 'replace') neighbours.set(key, value('lladdr'));
    else if (what === 'fdb' && verb === 'append') {
      if (forwarding.has(key)) throw new Error(`two ways to ${key}`);
      forwarding.set(key, value('dst'));
    } else if (what === 'fdb' && verb === 'del') {
      if (forwarding.get(key) !== value('dst')) throw new Error(`nothing to delete: ${line}`);
      forwarding.delete(key);
    } else if (verb === 'del') {
      if (!(what === 'route' ? routes : neighbours).delete(key)) throw new Error(`nothing to delete: ${line}`);
    } else throw new Error(`unknown: ${line}`);
  }
  return { routes, neighbours, forwarding };
}
