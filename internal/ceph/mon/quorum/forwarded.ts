import type { MessageCodec } from '../../wire/message.ts';
import { type Connection, CON_MODE_SECURE, type RawMessage, type SendOptions } from '../../wire/messenger.ts';
import { ENTITY_MON } from '../../wire/types.ts';
import { Session } from '../session.ts';
import type { ForwardedSession } from './wire.ts';

/**
 * The session of somebody who is connected with another mon, as handlers see it here: what they send is collected and goes back with the answer. It
 * lasts for one request.
 */
export function forwardedSession(from: ForwardedSession, id: number): { session: Session; sent: RawMessage[] } {
  const sent: RawMessage[] = [];
  const connection: Connection = {
    id,
    policy: 'stateless-server',
    accepted: true,
    peer: { type: from.name.type, num: Number(from.globalId) },
    identity: { name: from.name, globalId: from.globalId, caps: from.caps, allowAll: from.allowAll },
    peerAddrs: from.addrs,
    remoteIp: from.remoteIp,
    localAddr: from.addrs[0] ?? { type: 0, nonce: 0, family: 0, ip: '', port: 0 },
    features: from.features,
    mode: CON_MODE_SECURE,
    open: true,
    outstandingBytes: 0,
    lastReceivedMs: 0,
    session: undefined,
    send<T>(codec: MessageCodec<T>, value: T, options: SendOptions = {}): void {
      const { front, middle, data, version, compat } = codec.encode(value, from.features);
      sent.push({
        type: codec.type,
        version: version ?? codec.version,
        compat: compat ?? codec.compat,
        front,
        ...(middle && { middle }),
        ...(data && { data }),
        ...(options.tid !== undefined && { tid: options.tid }),
        ...(options.priority !== undefined && { priority: options.priority }),
      });
    },
    sendRaw: (message) => void sent.push(message),
    drained: () => Promise.resolve(),
    keepalive: () => undefined,
    close: () => undefined,
  };
  const session = new Session(connection);
  session.hostname = from.hostname;
  if (from.followsOsdMap) session.wanted.set('osdmap', { next: Number.MAX_SAFE_INTEGER, once: false });
  return { session, sent };
}

/** What the mon that leads has to know of a session here. */
export function describeSession(session: Session): ForwardedSession {
  const { identity, peerAddrs, remoteIp, features } = session.connection;
  return {
    name: session.name,
    globalId: identity?.globalId ?? 0n,
    caps: identity?.caps ?? '',
    allowAll: identity?.allowAll ?? session.name.type === ENTITY_MON,
    addrs: peerAddrs,
    remoteIp,
    features,
    hostname: session.hostname,
    followsOsdMap: session.wanted.has('osdmap'),
  };
}
