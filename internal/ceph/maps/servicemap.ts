import { Decoder, Encoder, type UTime, utimeZero } from '../wire/encoding.ts';
import { decodeAddr, type EntityAddr, encodeAddr } from '../wire/types.ts';

/** A daemon that registered itself at the mgr (rgw, rbd-mirror, …). */
export interface ServiceDaemon {
  gid: bigint;
  addr: EntityAddr;
  startEpoch: number;
  startStamp: UTime;
  metadata: ReadonlyMap<string, string>;
  taskStatus: ReadonlyMap<string, string>;
}

export interface Service {
  daemons: ReadonlyMap<string, ServiceDaemon>;
  summary: string;
}

/** `ServiceMap` (`src/mgr/ServiceMap.cc`): kept by the mgr, stored and spread by the mon. */
export interface ServiceMap {
  epoch: number;
  modified: UTime;
  services: ReadonlyMap<string, Service>;
}

export const emptyServiceMap: ServiceMap = Object.freeze({ epoch: 0, modified: utimeZero, services: new Map() });

export function encodeServiceMap(map: ServiceMap): Uint8Array {
  const e = new Encoder();
  e.struct(1, 1, () => {
    e.u32(map.epoch).utime(map.modified);
    e.stringMap(map.services, (x, service) =>
      x.struct(1, 1, () => {
        x.stringMap(service.daemons, (y, daemon) =>
          y.struct(2, 1, () => {
            y.u64b(daemon.gid);
            encodeAddr(y, daemon.addr);
            y.u64(daemon.startEpoch).utime(daemon.startStamp);
            y.stringStringMap(daemon.metadata).stringStringMap(daemon.taskStatus);
          }),
        );
        x.string(service.summary);
      }),
    );
  });
  return e.finish();
}

export function decodeServiceMap(bytes: Uint8Array): ServiceMap {
  const d = new Decoder(bytes);
  return d.struct('ServiceMap', 1, () => ({
    epoch: d.u32(),
    modified: d.utime(),
    services: d.stringMap((x) =>
      x.struct('ServiceMap::Service', 1, () => ({
        daemons: x.stringMap((y) => {
          const opened = y.open('ServiceMap::Daemon', 2);
          const daemon: ServiceDaemon = {
            gid: y.u64b(),
            addr: decodeAddr(y),
            startEpoch: y.u64(),
            startStamp: y.utime(),
            metadata: y.stringStringMap(),
            taskStatus: opened.version >= 2 ? y.stringStringMap() : new Map(),
          };
          y.close(opened);
          return daemon;
        }),
        summary: x.string(),
      })),
    ),
  }));
}
