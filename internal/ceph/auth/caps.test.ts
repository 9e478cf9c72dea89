import { describe, expect, test } from 'vitest';
import { MgrCap, MonCap } from './mon-cap.ts';
import { type OsdAccess, OsdCap } from './osd-cap.ts';

const noArgs: ReadonlyMap<string, string> = new Map();

function osd(access: Partial<OsdAccess>): OsdAccess {
  return {
    pool: 'rbd',
    nspace: '',
    applications: new Map(),
    object: 'o',
    read: false,
    write: false,
    calls: [],
    ip: '10.0.0.1',
    ...access,
  };
}
const call = (methodName: string, read: boolean, write: boolean) => ({
  className: 'rbd',
  methodName,
  read,
  write,
  allowed: true,
});

describe('osd caps', () => {
  const ask = (caps: string, access: Partial<OsdAccess>) => OsdCap.parse(caps).allows(osd(access));

  test('allow * is everything, the empty string nothing', () => {
    expect(OsdCap.parse('allow *').allowAll).toBe(true);
    expect(ask('allow *', { read: true, write: true, calls: [call('x', true, true)] })).toBe(true);
    expect(ask('', { read: true })).toBe(false);
  });
  test('pool, namespace and prefix limit a grant, before or after rwx', () => {
    for (const caps of [
      'allow rw pool=rbd namespace=a',
      'allow pool rbd namespace "a" rw',
      "allow rw pool='rbd' namespace a",
    ]) {
      expect(ask(caps, { read: true, write: true, nspace: 'a' }), caps).toBe(true);
      expect(ask(caps, { read: true, nspace: 'b' }), caps).toBe(false);
      expect(ask(caps, { read: true, nspace: 'a', pool: 'x' }), caps).toBe(false);
      expect(ask(caps, { read: true, nspace: 'a', calls: [call('get_size', true, false)] }), caps).toBe(false);
    }
    expect(ask('allow r namespace=csi*', { read: true, nspace: 'csi-1' })).toBe(true);
    expect(ask('allow r object_prefix rbd_', { read: true, object: 'rbd_x' })).toBe(true);
    expect(ask('allow r object_prefix rbd_', { read: true, object: 'x' })).toBe(false);
  });
  test('classes: x, class-read, and one method', () => {
    expect(ask('allow rwx', { calls: [call('set_size', true, true)] })).toBe(true);
    expect(ask('allow r class-read', { calls: [call('get_size', true, false)] })).toBe(true);
    expect(ask('allow r class-read', { calls: [call('set_size', true, true)] })).toBe(false);
    expect(ask('allow class rbd metadata_list', { calls: [call('metadata_list', true, false)] })).toBe(true);
    expect(ask('allow class rbd metadata_list', { calls: [call('set_size', true, true)] })).toBe(false);
  });
  test('an application tag', () => {
    const applications = new Map([['cephfs', new Map([['data', 'a']])]]);
    expect(ask('allow rw tag cephfs data=a', { read: true, applications })).toBe(true);
    expect(ask('allow rw tag cephfs *=*', { read: true, applications })).toBe(true);
    expect(ask('allow rw tag cephfs data=b', { read: true, applications })).toBe(false);
  });
  test('profile rbd', () => {
    const caps = 'profile rbd pool=rbd, profile rbd-read-only pool=images';
    expect(ask(caps, { read: true, write: true, calls: [call('x', true, true)] })).toBe(true);
    expect(ask(caps, { pool: 'images', read: true })).toBe(true);
    expect(ask(caps, { pool: 'images', write: true })).toBe(false);
    expect(ask(caps, { pool: 'images', object: 'rbd_header.1', calls: [call('child_attach', true, true)] })).toBe(true);
    expect(ask(caps, { pool: 'other', read: true })).toBe(false);
    expect(ask(caps, { pool: 'other', read: true, object: 'rbd_info' })).toBe(true);
  });
  test('network', () => {
    expect(ask('allow rw network 10.0.0.0/8', { read: true })).toBe(true);
    expect(ask('allow rw network 192.168.0.0/16', { read: true })).toBe(false);
    for (const [network, ip, inside] of [
      ['10.1.2.3/32', '10.1.2.3', true],
      ['10.1.2.3/40', '10.1.2.4', false],
      ['0.0.0.0/0', '10.1.2.3', true],
      ['10.1.2.3', '10.1.2.3', false],
      ['10.0.0.0/x', '10.0.0.0', false],
      ['fd00:1::/33', 'fd00:1:7fff::9', true],
      ['fd00:1::/33', 'fd00:1:8000::9', false],
      ['fd00:1::5/128', 'fd00:1:0::5', true],
      ['::/0', '10.1.2.3', false],
      ['-/0', '10.1.2.3', false],
      ['10.0.0.0/8', '', false],
    ] as const)
      expect(ask(`allow rw network ${network}`, { read: true, ip }), `${ip} in ${network}`).toBe(inside);
  });
  test('nonsense is refused', () => {
    for (const caps of ['allow', 'allow q', 'bogus', 'profile nosuch', 'allow rw pool', 'allow rw,', 'allow rw "'])
      expect(() => OsdCap.parse(caps), caps).toThrow(/osd capability parse failed/);
  });
});

describe('mon and mgr caps', () => {
  const ask = (
    caps: string,
    what: {
      service?: string;
      command?: string;
      args?: Record<string, string>;
      read?: boolean;
      write?: boolean;
      exec?: boolean;
    },
    entity = 'client.x',
  ) =>
    MonCap.parse(caps).allows({
      entity,
      service: what.service ?? '',
      command: what.command ?? '',
      args: what.args === undefined ? noArgs : new Map(Object.entries(what.args)),
      read: what.read ?? false,
      write: what.write ?? false,
      exec: what.exec ?? false,
      ip: '10.0.0.1',
    });
  test('rwx over all, and over one service', () => {
    expect(ask('allow r', { service: 'osd', read: true })).toBe(true);
    expect(ask('allow r', { service: 'osd', write: true })).toBe(false);
    expect(ask('allow service osd rw', { service: 'osd', write: true })).toBe(true);
    expect(ask('allow service osd rw', { service: 'auth', read: true })).toBe(false);
    expect(ask('allow r, allow service osd w', { service: 'osd', read: true, write: true })).toBe(true);
  });
  test('profiles', () => {
    expect(ask('profile rbd', { service: 'osd', read: true })).toBe(true);
    expect(ask('profile rbd', { service: 'osd', write: true, command: 'osd pool create' })).toBe(false);
    const block = { service: 'osd', write: true, command: 'osd blocklist' };
    expect(ask('profile rbd', { ...block, args: { blocklistop: 'add', addr: '10.0.0.1:0/12345' } })).toBe(true);
    expect(ask('profile rbd', { ...block, args: { blocklistop: 'add', addr: '10.0.0.1' } })).toBe(false);
    expect(ask('allow profile osd', { service: 'osd', read: true, write: true, exec: true }, 'osd.0')).toBe(true);
    expect(ask('allow profile osd', { service: 'auth', read: true }, 'osd.0')).toBe(false);
    const key = { service: 'config-key', read: true, command: 'config-key get' };
    expect(ask('allow profile osd', { ...key, args: { key: 'daemon-private/osd.0/x' } }, 'osd.0')).toBe(true);
    expect(ask('allow profile osd', { ...key, args: { key: 'daemon-private/osd.1/x' } }, 'osd.0')).toBe(false);
    expect(ask('profile simple-rados-client', { service: 'pg', read: true })).toBe(true);
  });
  test('one command with its arguments', () => {
    const caps = 'allow command "auth get-or-create" with entity prefix "client." caps_osd=\'profile rbd\'';
    const get = { service: 'auth', exec: true, write: true, command: 'auth get-or-create' };
    expect(ask(caps, { ...get, args: { entity: 'client.a', caps_osd: 'profile rbd' } })).toBe(true);
    expect(ask(caps, { ...get, args: { entity: 'osd.1', caps_osd: 'profile rbd' } })).toBe(false);
  });
  test('mgr', () => {
    expect(MgrCap.parse('allow *').allowAll).toBe(true);
    const access = { entity: 'client.x', command: '', args: noArgs, read: true, write: false, exec: false, ip: '' };
    expect(MgrCap.parse('profile rbd pool=rbd').allows({ ...access, service: 'rbd_support' })).toBe(true);
    expect(MgrCap.parse('profile rbd pool=rbd').allows({ ...access, service: 'pg' })).toBe(false);
  });
  test('nonsense is refused', () => {
    for (const caps of ['allow', 'allow q', 'bogus', 'profile nosuch', 'allow service'])
      expect(() => MonCap.parse(caps), caps).toThrow(/mon capability parse failed/);
  });
});
