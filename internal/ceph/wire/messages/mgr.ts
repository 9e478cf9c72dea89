import { emptyBytes } from '../../../base/bytes.ts';
import { type Decoder, Encoder } from '../encoding.ts';
import { frontCodec } from '../message.ts';

/** Maps that travel whole and encoded: `bytes` is the map's own encoding. */
export const MMgrMap = frontCodec<{ map: Uint8Array }>(
  { type: 0x704, name: 'MMgrMap', version: 1, compat: 1 },
  (e, m) => e.bytes(m.map),
  (d) => ({ map: d.rest() }),
);

/** JSON texts of the mon's state for the mgr's modules. */
export const MMgrDigest = frontCodec<{ monStatusJson: Uint8Array; healthJson: Uint8Array }>(
  { type: 0x705, name: 'MMgrDigest', version: 1, compat: 1 },
  (e, m) => e.blob(m.monStatusJson).blob(m.healthJson),
  (d) => ({ monStatusJson: d.blob(), healthJson: d.blob() }),
);

export const MServiceMap = frontCodec<{ map: Uint8Array }>(
  { type: 0x707, name: 'MServiceMap', version: 1, compat: 1 },
  (e, m) => e.bytes(m.map),
  (d) => ({ map: d.rest() }),
);

/** A daemon or service introduces itself to the mgr. */
export interface MMgrOpenValue {
  daemonName: string;
  /** Empty: from the entity's type. */
  serviceName: string;
  /** Of a service daemon (rgw, rbd-mirror, ...) only. */
  service: { metadata: ReadonlyMap<string, string>; status: ReadonlyMap<string, string> } | undefined;
  config: Uint8Array;
  configDefaults: Uint8Array;
}
export const MMgrOpen = frontCodec<MMgrOpenValue>(
  { type: 0x700, name: 'MMgrOpen', version: 3, compat: 1 },
  (e, m) => {
    e.string(m.daemonName)
      .string(m.serviceName)
      .bool(m.service !== undefined);
    if (m.service !== undefined) e.stringStringMap(m.service.metadata).stringStringMap(m.service.status);
    e.blob(m.config).blob(m.configDefaults);
  },
  (d, version) => {
    const daemonName = d.string();
    const serviceName = version >= 2 ? d.string() : '';
    const service =
      version >= 2 && d.bool() ? { metadata: d.stringStringMap(), status: d.stringStringMap() } : undefined;
    return {
      daemonName,
      serviceName,
      service,
      config: version >= 3 ? d.blob() : emptyBytes,
      configDefaults: version >= 3 ? d.blob() : emptyBytes,
    };
  },
);

/** Declaration of a performance counter. */
export interface PerfCounterType {
  path: string;
  description: string;
  nick: string;
  type: number;
  priority: number;
  unit: number;
}

function encodeCounterType(e: Encoder, t: PerfCounterType): void {
  const at = e.open(3, 1);
  e.string(t.path).string(t.description).string(t.nick).u8(t.type).u8(t.priority).u8(t.unit).close(at);
}
function decodeCounterType(d: Decoder): PerfCounterType {
  const opened = d.open('PerfCounterType', 3);
  const value: PerfCounterType = {
    path: d.string(),
    description: d.string(),
    nick: d.string(),
    type: d.u8(),
    priority: opened.version >= 2 ? d.u8() : 5,
    unit: opened.version >= 3 ? d.u8() : 0,
  };
  d.close(opened);
  return value;
}

/** What a daemon reports regularly. What is behind `config` (queries of the mgr we do not make) is kept as bytes. */
export interface MMgrReportValue {
  daemonName: string;
  declare: readonly PerfCounterType[];
  packed: Uint8Array;
  undeclare: readonly string[];
  serviceName: string;
  status: ReadonlyMap<string, string> | undefined;
  /** Health metrics, configuration, OSD metrics, task status, metrics: undecoded. */
  rest: Uint8Array;
}
export const MMgrReport = frontCodec<MMgrReportValue>(
  { type: 0x702, name: 'MMgrReport', version: 9, compat: 1 },
  (e, m) => {
    e.string(m.daemonName).list(m.declare, encodeCounterType).blob(m.packed);
    e.list(m.undeclare, (x, t) => x.string(t)).string(m.serviceName);
    e.optional(m.status, (x, s) => x.stringStringMap(s)).bytes(m.rest);
  },
  (d, version) => ({
    daemonName: d.string(),
    declare: d.list(decodeCounterType, 6),
    packed: d.blob(),
    undeclare: version >= 2 ? d.stringList() : [],
    serviceName: version >= 3 ? d.string() : '',
    status: version >= 3 ? d.optional((x) => x.stringStringMap()) : undefined,
    rest: d.rest(),
  }),
);

export interface MMgrConfigureValue {
  statsPeriodSec: number;
  statsThreshold: number;
  /** Metric queries of the mgr, undecoded; `blankConfigureRest` for none. */
  rest: Uint8Array;
}
export const MMgrConfigure = frontCodec<MMgrConfigureValue>(
  { type: 0x701, name: 'MMgrConfigure', version: 4, compat: 1 },
  (e, m) => e.u32(m.statsPeriodSec).u32(m.statsThreshold).bytes(m.rest),
  (d, version) => ({ statsPeriodSec: d.u32(), statsThreshold: version >= 2 ? d.u32() : 0, rest: d.rest() }),
);
export function blankConfigureRest(): Uint8Array {
  return new Encoder().u32(0).u8(0).finish();
}

export const MMgrClose = frontCodec<{ daemonName: string; serviceName: string }>(
  { type: 0x708, name: 'MMgrClose', version: 1, compat: 1 },
  (e, m) => e.string(m.daemonName).string(m.serviceName),
  (d) => ({ daemonName: d.string(), serviceName: d.remaining > 0 ? d.string() : '' }),
);
