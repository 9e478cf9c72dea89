import { describe, expect, test } from 'vitest';
import { nodeAddress } from './node-address.ts';

const header = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT';
const route = (name: string, destination = '00000000', mask = '00000000'): string =>
  [name, destination, '0100A8C0', '0003', '0', '0', '0', mask, '0', '0', '0'].join('\t');
const table = (...routes: string[]): string => `${[header, ...routes].join('\n')}\n`;
const eth0 = { name: 'eth0', addresses: ['192.168.0.4'] };
const wlan0 = { name: 'wlan0', addresses: ['192.168.1.7', '192.168.1.8'] };
const own = [
  { name: 'cni-0badcafe', addresses: ['10.42.0.1'] },
  { name: 'vxlan-0badcafe', addresses: ['10.42.0.0'] },
];

describe('the address of a node that was told none', () => {
  test('is of the interface with the default route, else the first, else loopback', () => {
    const routes = table(route('eth0', '0000A8C0', '00FFFFFF'), route('wlan0'));
    expect(nodeAddress([eth0, wlan0], routes, undefined)).toBe('192.168.1.7');
    expect(nodeAddress([eth0, wlan0], table(), undefined)).toBe('192.168.0.4');
    expect(nodeAddress([eth0, wlan0], '', undefined)).toBe('192.168.0.4');
    expect(nodeAddress([{ name: 'tun0', addresses: [] }, eth0], table(route('tun0')), undefined)).toBe('192.168.0.4');
    expect(nodeAddress([], table(route('eth0')), undefined)).toBe('127.0.0.1');
  });

  test('is never one that the node made for its pods, also when the cable is out', () => {
    expect(nodeAddress([...own, eth0], table(), undefined)).toBe('192.168.0.4');
    expect(nodeAddress(own, table(route('cni-0badcafe')), '10.42.0.1')).toBe('127.0.0.1');
  });

  test('stays while the node runs and the machine has it, whatever interfaces and routes come and go', () => {
    for (const routes of [table(), table(route('wlan0')), table(route('eth0')), ''])
      for (const all of [[eth0], [eth0, wlan0], [wlan0, eth0, ...own]])
        expect(nodeAddress(all, routes, '192.168.0.4')).toBe('192.168.0.4');
    expect(nodeAddress([wlan0, ...own], table(), '192.168.0.4')).toBe('192.168.1.7');
    expect(nodeAddress([{ ...eth0, addresses: ['192.168.0.9'] }], table(route('eth0')), '192.168.0.4')).toBe(
      '192.168.0.9',
    );
  });
});
