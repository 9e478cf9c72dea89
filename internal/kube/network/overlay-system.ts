import { readFile, writeFile } from 'node:fs/promises';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { cidrAddress, parseCidr } from '../../config/cidr.ts';
import { runCommand, tryCommand } from '../../base/command-system.ts';
import {
  actualOverlay,
  type Overlay,
  type OverlayChanges,
  routeProtocol,
  type Shown,
  vtepMac,
  vxlanId,
  vxlanPort,
} from './overlay.ts';

/** The interface that the node speaks to others by. */
export interface NodeLink {
  readonly name: string;
  readonly mtu: number;
  /** True where the interface has the node's address itself (not where an address translator does). */
  readonly hasAddress: boolean;
  /** Networks that are on the link. */
  readonly networks: readonly string[];
}

interface ShownAddress {
  ifname: string;
  mtu: number;
  addr_info: { family: string; local: string; prefixlen: number }[];
}

/** The interface with address `ip`, else the one of the default route; undefined where there is neither. */
export async function nodeLink(ip: string): Promise<NodeLink | undefined> {
  const shown = JSON.parse((await runCommand(['ip', '-j', '-4', 'addr', 'show'])).stdout || '[]') as ShownAddress[];
  const networks = (one: ShownAddress): string[] =>
    one.addr_info
      .filter(({ family, prefixlen }) => family === 'inet' && prefixlen < 32)
      .map(({ local, prefixlen }) => `${cidrAddress(parseCidr(`${local}/${prefixlen}`), 0)}/${prefixlen}`);
  const own = shown.find((one) => one.addr_info?.some(({ local }) => local === ip));
  if (own) return { name: own.ifname, mtu: own.mtu, hasAddress: true, networks: networks(own) };
  const routes = JSON.parse((await runCommand(['ip', '-j', 'route', 'show', 'default'])).stdout || '[]') as {
    dev?: string;
  }[];
  const other = shown.find(({ ifname }) => ifname === routes[0]?.dev);
  return other && { name: other.ifname, mtu: other.mtu, hasAddress: false, networks: networks(other) };
}

interface ShownDevice {
  mtu: number;
  flags: string[];
  address: string;
  linkinfo?: {
    info_kind?: string;
    info_data?: { id?: number; port?: number; local?: string; link?: string; learning?: boolean };
  };
}

/**
 * Makes the tunnel device as flannel does: no learning, the node's own address, the first address of its pod network. One that differs in what cannot be changed is made
 * anew. Throws AppError NO_VXLAN where the kernel has no vxlan.
 */
export async function ensureTunnel(
  device: string,
  options: { nodeName: string; ip: string; podCIDR: string; link: NodeLink; mtu: number },
): Promise<void> {
  const { ip, link, mtu, nodeName, podCIDR } = options;
  const mac = vtepMac(nodeName);
  const shown = await tryCommand(['ip', '-j', '-d', 'link', 'show', 'dev', device]);
  const is = shown.code === 0 ? (JSON.parse(shown.stdout) as ShownDevice[])[0] : undefined;
  const data = is?.linkinfo?.info_data;
  const local = link.hasAddress ? ip : undefined;
  const same =
    is?.address === mac &&
    data?.id === vxlanId &&
    data.port === vxlanPort &&
    data.local === local &&
    data.link === link.name &&
    data.learning === false;
  if (is && !same) await runCommand(['ip', 'link', 'delete', device]);
  if (!same) {
    const made = await tryCommand([
      ...['ip', 'link', 'add', device, 'address', mac, 'type', 'vxlan', 'id', String(vxlanId), 'dev', link.name],
      ...(local === undefined ? [] : ['local', local]),
      ...['dstport', String(vxlanPort), 'nolearning'],
    ]);
    if (made.code !== 0) {
      const words = made.stderr.trim();
      if (/not supported|Unknown device type/i.test(words))
        throw new AppError('NO_VXLAN', `the kernel has no vxlan: ${words}`, {
          hint: 'install the kernel modules (on Ubuntu for Raspberry Pi: apt-get install linux-modules-extra-raspi), or set cluster.networkBackend: host-gw',
        });
      throw new AppError('COMMAND', `ip link add ${device} type vxlan: ${words}`);
    }
    await writeFile(`/proc/sys/net/ipv4/conf/${device}/rp_filter`, '2').catch(() => undefined);
    await tryCommand(['ip', 'link', 'set', device, 'addrgenmode', 'none']);
  }
  if (!same || is?.mtu !== mtu || !is.flags.includes('UP'))
    await runCommand(['ip', 'link', 'set', device, 'mtu', String(mtu), 'up']);
  const inner = `${cidrAddress(parseCidr(podCIDR), 0)}/32`;
  const held = await addresses(device);
  for (const old of held) if (old !== inner) await runCommand(['ip', 'addr', 'del', old, 'dev', device]);
  if (!held.includes(inner)) await runCommand(['ip', 'addr', 'add', inner, 'dev', device]);
}

/** IPv4 addresses of an interface with their prefix lengths; none where it is not there. */
export async function addresses(device: string): Promise<string[]> {
  const shown = await tryCommand(['ip', '-j', '-4', 'addr', 'show', 'dev', device]);
  if (shown.code !== 0) return [];
  return (JSON.parse(shown.stdout || '[]') as ShownAddress[]).flatMap((one) =>
    (one.addr_info ?? []).map(({ local, prefixlen }) => `${local}/${prefixlen}`),
  );
}

async function json<T>(argv: readonly string[]): Promise<T[]> {
  const { code, stdout } = await tryCommand(argv);
  return code === 0 && stdout.trim() !== '' ? (JSON.parse(stdout) as T[]) : [];
}

/** What the kernel holds of ours. */
export async function readOverlay(device: string | undefined): Promise<Overlay> {
  const routes = await json<Shown['routes'][number]>(['ip', '-j', 'route', 'show', 'proto', String(routeProtocol)]);
  if (device === undefined) return actualOverlay({ routes, neighbours: [], forwarding: [] });
  return actualOverlay({
    routes,
    neighbours: await json<Shown['neighbours'][number]>([
      'ip',
      '-j',
      'neigh',
      'show',
      'dev',
      device,
      'nud',
      'permanent',
    ]),
    forwarding: await json<Shown['forwarding'][number]>(['bridge', '-j', 'fdb', 'show', 'dev', device]),
  });
}

/** Carries changes out, as many as can be; throws when one could not. */
export async function applyOverlay(changes: OverlayChanges): Promise<void> {
  const problems: string[] = [];
  for (const [program, lines] of [
    ['bridge', changes.bridge],
    ['ip', changes.ip],
  ] as const) {
    if (lines.length === 0) continue;
    const result = await tryCommand([program, '-force', '-batch', '-'], { stdin: `${lines.join('\n')}\n` });
    if (result.code !== 0) problems.push(result.stderr.trim().split('\n').slice(0, 4).join('; '));
  }
  if (problems.length > 0) throw new AppError('OVERLAY', `routes to other nodes not made: ${problems.join('; ')}`);
}

/** Removes the tunnel device, if it is there. */
export async function removeTunnel(device: string): Promise<void> {
  if ((await tryCommand(['ip', 'link', 'show', 'dev', device])).code === 0)
    await runCommand(['ip', 'link', 'delete', device]);
}

/** Removes the tunnel device and every route of ours. */
export async function removeOverlay(device: string): Promise<void> {
  for (const cidr of (await readOverlay(undefined)).routes.keys())
    await runCommand(['ip', 'route', 'del', cidr, 'proto', String(routeProtocol)]);
  await removeTunnel(device);
}

/** Sets a kernel parameter where it differs (`net/ipv4/ip_forward`). What cannot be set is told. */
export async function sysctl(name: string, value: string, log: Logger): Promise<void> {
  const path = `/proc/sys/${name}`;
  try {
    if ((await readFile(path, 'utf8')).trim() !== value) await writeFile(path, value);
  } catch (error) {
    log.warn('kernel setting not made', { setting: name, value, error: errorText(error) });
  }
}
