import { isIPv4, isIPv6 } from '../../machinery/validation.ts';

/** Addresses and ranges as the API writes them. */

export const cidrMessage = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';

/** 4 or 6, or 0 for what is no address. */
export function isIP(text: string): 0 | 4 | 6 {
  return isIPv4(text) ? 4 : isIPv6(text) ? 6 : 0;
}

export interface Range {
  family: 4 | 6;
  bits: number;
  /** First address, as a number. */
  first: bigint;
  /** Whether it was written as `text` writes it. */
  canonical: boolean;
  text: string;
}

const widths = { 4: 32n, 6: 128n } as const;

/** An address as a number. The text must be one (`isIP`). */
function addressNumber(text: string): bigint {
  if (isIP(text) === 4) return text.split('.').reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const plain =
    dotted === null
      ? text
      : `${dotted[1]}${(addressNumber(dotted[2]!) >> 16n).toString(16)}:${(addressNumber(dotted[2]!) & 0xffffn).toString(16)}`;
  const [head = '', tail] = plain.split('::');
  const groups = (part: string): string[] => part.split(':').filter((group) => group !== '');
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const all = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => '0'), ...right];
  return all.reduce((sum, group) => (sum << 16n) | BigInt(`0x${group}`), 0n);
}

function addressText(value: bigint, family: 4 | 6): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(112 - index * 16)) & 0xffffn));
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > best.length) best = { at, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.at < 0) return hex.join(':');
  return `${hex.slice(0, best.at).join(':')}::${hex.slice(best.at + best.length).join(':')}`;
}

/** An address in its one short form (RFC 5952). The text must be one. */
export function compressedAddress(text: string): string {
  return addressText(addressNumber(text), isIP(text) === 4 ? 4 : 6);
}

/** A range from its text; undefined for what is none. */
export function cidrOf(text: string): Range | undefined {
  const [address = '', bitsText, ...more] = text.split('/');
  const family = isIP(address);
  if (more.length > 0 || bitsText === undefined || !/^\d{1,3}$/.test(bitsText) || family === 0) return undefined;
  const bits = Number(bitsText);
  const width = widths[family];
  if (BigInt(bits) > width) return undefined;
  const shift = width - BigInt(bits);
  const first = (addressNumber(address) >> shift) << shift;
  const canonical = `${addressText(first, family)}/${bits}`;
  return { family, bits, first, canonical: canonical === text, text: canonical };
}

/** Whether `inner` lies within `outer`. */
export function isSubnet(inner: Range, outer: Range): boolean {
  if (inner.family !== outer.family || inner.bits < outer.bits) return false;
  const shift = widths[outer.family] - BigInt(outer.bits);
  return inner.first >> shift === outer.first >> shift;
}
