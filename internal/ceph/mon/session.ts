import { MonCap } from '../auth/mon-cap.ts';
import type { Connection } from '../wire/messenger.ts';
import { type EntityName, entityNameText } from '../wire/types.ts';

/** What a peer wants to be told of. */
export interface Wanted {
  /** The version that is wanted next. */
  next: number;
  once: boolean;
}

const noArgs: ReadonlyMap<string, string> = new Map();

/** A peer with an open connection. */
export class Session {
  readonly connection: Connection;
  readonly name: EntityName;
  readonly cap: MonCap;
  readonly wanted = new Map<string, Wanted>();
  /** For configuration masks. */
  hostname = '';
  /** Old OSDMaps are being read for it: newer ones wait. */
  sendingOsdMaps = false;
  /** As sent last, so that only changes are sent. */
  sentConfig: string | undefined;

  constructor(connection: Connection) {
    this.connection = connection;
    const identity = connection.identity;
    this.name = identity?.name ?? { type: 0, id: '' };
    this.cap = identity?.allowAll ? MonCap.all : parsed(identity?.caps ?? '');
  }

  /** `client.admin`. */
  get entity(): string {
    return entityNameText(this.name);
  }

  get ip(): string {
    return this.connection.remoteIp;
  }

  /** `perm` in letters of `rwx`. */
  may(service: string, perm: string, command = '', args: ReadonlyMap<string, string> = noArgs): boolean {
    return this.cap.allows({
      entity: this.entity,
      service,
      command,
      args,
      read: perm.includes('r'),
      write: perm.includes('w'),
      exec: perm.includes('x'),
      ip: this.ip,
    });
  }
}

function parsed(text: string): MonCap {
  try {
    return MonCap.parse(text);
  } catch {
    // Capabilities that nobody can read allow nothing.
    return MonCap.none;
  }
}
