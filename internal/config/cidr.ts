/** IPv4 arithmetic on plain numbers. */

export function isIPv4(text: string): boolean {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
}

/** The address as an unsigned 32-bit number; the text must be an IPv4 address. */
export function ipv4Number(text: string): number {
  return text.split('.').reduce((value, part) => value * 256 + Number(part), 0);
}

export function ipv4Text(value: number): string {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join('.');
}

export interface Cidr {
  /** First address of the network. */
  base: number;
  prefix: number;
  /** Number of addresses. */
  size: number;
}

export function parseCidr(text: string): Cidr {
  const [address, bits] = text.split('/') as [string, string];
  const prefix = Number(bits);
  const size = 2 ** (32 - prefix);
  return { base: Math.floor(ipv4Number(address) / size) * size, prefix, size };
}

export function cidrContains(cidr: Cidr, address: string): boolean {
  const value = ipv4Number(address);
  return value >= cidr.base && value < cidr.base + cidr.size;
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return a.base < b.base + b.size && b.base < a.base + a.size;
}

/** The nth address of a network. */
export function cidrAddress(cidr: Cidr, index: number): string {
  return ipv4Text((cidr.base + index) >>> 0);
}
