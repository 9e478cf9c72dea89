import type { Environment } from '@marcbachmann/cel-js';
import { isIPv4, isIPv6 } from '../validation.ts';
import { registerNamespace } from './library-namespace.ts';

/** The IP and CIDR libraries. An address is its bytes. */
class CelIp {
  readonly bytes: Uint8Array;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
}
class CelCidr {
  readonly ip: CelIp;
  readonly bits: number;
  constructor(ip: CelIp, bits: number) {
    this.ip = ip;
    this.bits = bits;
  }
}

function bytesOf(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.').map(Number));
  // An IPv4 address in IPv6's clothes is refused, as upstream.
  if (!isIPv6(text) || text.includes('.')) return undefined;
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}

function textOf(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === '0') length++;
    if (length > best.length) best = { at, length };
  }
  if (best.at < 0) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

function ipOf(text: string): CelIp {
  const bytes = bytesOf(text);
  if (bytes === undefined)
    throw new Error(`IP Address ${JSON.stringify(text)} parse error during conversion from string`);
  return new CelIp(bytes);
}

function tryCidr(text: string): CelCidr | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const bytes = match === null ? undefined : bytesOf(match[1]!);
  const bits = Number(match?.[2]);
  return bytes === undefined || bits > bytes.length * 8 ? undefined : new CelCidr(new CelIp(bytes), bits);
}

function cidrOf(text: string): CelCidr {
  const found = tryCidr(text);
  if (found === undefined)
    throw new Error(`network address parse error during conversion from string: ${JSON.stringify(text)}`);
  return found;
}

function masked(bytes: Uint8Array, bits: number): Uint8Array {
  return bytes.map((byte, index) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - index * 8))) & 255);
}

function contains(network: CelCidr, ip: CelIp): boolean {
  if (network.ip.bytes.length !== ip.bytes.length) return false;
  return Buffer.compare(masked(network.ip.bytes, network.bits), masked(ip.bytes, network.bits)) === 0;
}

const is = {
  unspecified: (b: Uint8Array) => b.every((byte) => byte === 0),
  loopback: (b: Uint8Array) => (b.length === 4 ? b[0] === 127 : b.every((byte, i) => byte === (i === 15 ? 1 : 0))),
  linkLocalMulticast: (b: Uint8Array) =>
    b.length === 4 ? b[0] === 224 && b[1] === 0 && b[2] === 0 : b[0] === 0xff && (b[1]! & 15) === 2,
  linkLocalUnicast: (b: Uint8Array) =>
    b.length === 4 ? b[0] === 169 && b[1] === 254 : b[0] === 0xfe && (b[1]! & 0xc0) === 0x80,
  multicast: (b: Uint8Array) => (b.length === 4 ? (b[0]! & 0xf0) === 0xe0 : b[0] === 0xff),
};

export function registerAddresses(environment: Environment): void {
  const on = (signature: string, handler: (...given: never[]) => unknown): void => {
    environment.registerFunction(signature, handler as never);
  };
  const i = 'net.IP';
  const c = 'net.CIDR';
  environment.registerType(i, CelIp as never);
  environment.registerType(c, CelCidr as never);
  const ips = registerNamespace(environment, 'ip');
  on(`ip(string): ${i}`, ipOf as never);
  on('isIP(string): bool', (text: string) => bytesOf(text) !== undefined);
  on(`${ips}.isCanonical(string): bool`, (_ip: unknown, text: string) => textOf(ipOf(text).bytes) === text);
  on(`${i}.family(): int`, (ip: CelIp) => (ip.bytes.length === 4 ? 4n : 6n));
  on(`${i}.isUnspecified(): bool`, (ip: CelIp) => is.unspecified(ip.bytes));
  on(`${i}.isLoopback(): bool`, (ip: CelIp) => is.loopback(ip.bytes));
  on(`${i}.isLinkLocalMulticast(): bool`, (ip: CelIp) => is.linkLocalMulticast(ip.bytes));
  on(`${i}.isLinkLocalUnicast(): bool`, (ip: CelIp) => is.linkLocalUnicast(ip.bytes));
  on(
    `${i}.isGlobalUnicast(): bool`,
    ({ bytes }: CelIp) =>
      !is.unspecified(bytes) &&
      !is.loopback(bytes) &&
      !is.multicast(bytes) &&
      !is.linkLocalUnicast(bytes) &&
      !(bytes.length === 4 && bytes.every((byte) => byte === 255)),
  );
  on(`string(${i}): string`, (ip: CelIp) => textOf(ip.bytes));
  on(`cidr(string): ${c}`, cidrOf as never);
  on('isCIDR(string): bool', (text: string) => tryCidr(text) !== undefined);
  on(`${c}.containsIP(string): bool`, (network: CelCidr, text: string) => contains(network, ipOf(text)));
  on(`${c}.containsIP(${i}): bool`, contains as never);
  const containsCidr = (network: CelCidr, other: CelCidr): boolean =>
    other.bits >= network.bits && contains(network, other.ip);
  on(`${c}.containsCIDR(string): bool`, (network: CelCidr, text: string) => containsCidr(network, cidrOf(text)));
  on(`${c}.containsCIDR(${c}): bool`, containsCidr as never);
  on(`${c}.ip(): ${i}`, (network: CelCidr) => network.ip);
  on(`${c}.prefixLength(): int`, (network: CelCidr) => BigInt(network.bits));
  on(
    `${c}.masked(): ${c}`,
    (network: CelCidr) => new CelCidr(new CelIp(masked(network.ip.bytes, network.bits)), network.bits),
  );
  on(`string(${c}): string`, (network: CelCidr) => `${textOf(network.ip.bytes)}/${network.bits}`);
  const equalBytes = (a: CelIp, b: CelIp): boolean => Buffer.compare(a.bytes, b.bytes) === 0;
  environment.registerOperator(`${i} == ${i}`, equalBytes as never);
  environment.registerOperator(
    `${c} == ${c}`,
    ((a: CelCidr, b: CelCidr) => a.bits === b.bits && equalBytes(a.ip, b.ip)) as never,
  );
}
