import {
  ADDR_ANY,
  ADDR_LEGACY,
  ADDR_MSGR2,
  addrHostPort,
  type EntityAddr,
  type EntityAddrVec,
} from '../../wire/types.ts';
import type { Json } from './json.ts';

function typeText(addr: EntityAddr): string {
  if (addr.type === ADDR_LEGACY) return 'v1';
  if (addr.type === ADDR_MSGR2) return 'v2';
  return addr.type === ADDR_ANY ? 'any' : 'none';
}

/** Without the type, as older tools know it: `10.0.0.1:6800/123`. */
export function legacyText(addr: EntityAddr | undefined): string {
  return addr === undefined || addr.family === 0
    ? '(unrecognized address family 0)/0'
    : `${addrHostPort(addr)}/${addr.nonce}`;
}

/** The address that stands for a vector where only one is shown. */
export function legacyAddr(addrs: EntityAddrVec): EntityAddr | undefined {
  return addrs.find(({ type }) => type === ADDR_LEGACY) ?? addrs[0];
}

/** `{"addrvec": [{"type": "v2", ...}]}`. */
export function addrsJson(addrs: EntityAddrVec): Json {
  return {
    addrvec: addrs.map((addr) => ({ type: typeText(addr), addr: addrHostPort(addr), nonce: addr.nonce })),
  };
}
