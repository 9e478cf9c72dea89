import { ByteReader, ByteWriter, DecodeError, utf8, utf8Text } from '../base/bytes.ts';
import type { Clock, Timer } from '../base/clock.ts';
import { rawCrc32c } from '../base/crc32c.ts';
import { AppError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { frameKinds } from './frames.ts';
import type { NodeMessage, OutgoingSnapshot, RaftNode, RaftTransport } from './node.ts';
import {
  Connection,
  type Hello,
  handlers,
  isPeerUrl,
  maxHelloOthers,
  othersOf,
  urlAt,
} from './peer-connection-transport.ts';
import type { MemberId, SnapshotMeta } from './types.ts';
import { decodeMessage, encodeMessage, maxSnapshotMetaBytes, readSnapshotMeta, writeSnapshotMeta } from './wire.ts';

export interface PeerTls {
  /** PEM; the certificate serves as server and as client. */
  cert: string;
  key: string;
  ca: string;
}

export interface PeerTransportOptions {
  id: MemberId;
  /** Members of another cluster are refused. */
  clusterId: bigint;
  /** Asked for each connection, and at `renew` for those that call. */
  tls: () => PeerTls;
  clock: Clock;
  log: Logger;
  /** Where a member may be found, as `https://host:port`, the likeliest first; none when it is not known, or is no member. */
  addresses(id: MemberId): readonly string[];
}

/** Of one message: a command of the largest size, and some. */
const maxFrameBytes = 64 << 20;
/** Waiting for a slow member; more is dropped, and sent again by the leader when it has caught up. */
const maxQueuedBytes = 64 << 20;
const helloMs = 5000;
const redialMs = { first: 50, last: 2000 };
/** Pieces of a snapshot on their way. */
const maxPieces = 16;
const snapshotSilenceMs = 30_000;
const progressEvery = 4;
const anyAddress = /^(0\.0\.0\.0|::|)$/;

/**
 * Messages and snapshots between members over mutual TLS. One connection for messages in each direction, and one for each snapshot, so that a large
 * state does not hold up heartbeats. A member whose address is not known (it just joins, and does not know the others) is answered on the
 * connection that it was called on. Members tell each other in their greetings whom they are connected with and where: when all addresses change at once it is
 * enough that everybody finds one and the same member.
 */
export class PeerTransport implements RaftTransport {
  readonly #options: PeerTransportOptions;
  #node: RaftNode | undefined;
  readonly #dialled = new Map<MemberId, Connection>();
  readonly #called = new Map<MemberId, Connection>();
  readonly #redial = new Map<MemberId, { delayMs: number; notBefore: number; tries: number; error: string }>();
  /** Where each member has answered last. */
  readonly #answered = new Map<MemberId, string>();
  /** Where each member is, as others have told. */
  readonly #told = new Map<MemberId, string>();
  readonly #all = new Set<Connection>();
  #server: { stop(closeActive?: boolean): void; port: number } | undefined;
  #hostname = '';
  #closed = false;

  constructor(options: PeerTransportOptions) {
    this.#options = options;
  }

  /** Messages go to this node from now on. */
  attach(node: RaftNode): void {
    this.#node = node;
  }

  /** Takes calls; `port` 0: any. Returns the port. */
  listen(hostname: string, port: number): number {
    this.#hostname = hostname;
    const { cert, key, ca } = this.#options.tls();
    this.#server = Bun.listen<Connection>({
      hostname,
      port,
      tls: { cert, key, ca, requestCert: true, rejectUnauthorized: true },
      socket: {
        ...handlers,
        open: (socket) => {
          const connection = new Connection();
          socket.data = connection;
          connection.socket = socket;
          this.#all.add(connection);
          this.#expectHello(connection, (hello) => this.#accepted(connection, hello));
        },
        handshake: (socket, authorized, error) => socket.data.shown(authorized, error),
      },
    }) as unknown as { stop(closeActive?: boolean): void; port: number };
    return this.#server.port;
  }

  /** Who calls from now on is shown the certificate that `tls` gives now; open connections go on. */
  renew(): void {
    const server = this.#server;
    if (server === undefined || this.#closed) return;
    const { port } = server;
    // Both in one turn of the loop: nobody finds the port closed who would not find it busy.
    server.stop();
    this.listen(this.#hostname, port);
  }

  close(): void {
    this.#closed = true;
    this.#server?.stop(true);
    for (const connection of [...this.#all]) connection.end();
  }

  // --- messages

  send(message: NodeMessage): void {
    const connection = this.#connectionTo(message.to);
    if (connection === undefined || connection.queuedBytes > maxQueuedBytes) {
      this.#node?.unreachable(message.to);
      return;
    }
    connection.send(frameKinds.message, [encodeMessage(message)]);
  }

  #connectionTo(to: MemberId): Connection | undefined {
    const dialled = this.#dialled.get(to);
    const called = this.#called.get(to);
    // One that calls is answered there as long as nobody answers where it should be.
    if (dialled !== undefined && !dialled.closed)
      return dialled.greeted || called === undefined || called.closed ? dialled : called;
    const wait = this.#redial.get(to);
    const address = this.#address(to);
    if (address !== undefined && (wait === undefined || this.#options.clock.monotonic() >= wait.notBefore))
      return this.#dial(to, address);
    return called !== undefined && !called.closed ? called : undefined;
  }

  /** Where it has answered last, then each address that it may have in turn. */
  #address(to: MemberId): string | undefined {
    const known = this.#options.addresses(to);
    const tries = this.#redial.get(to)?.tries ?? 0;
    const answered = this.#answered.get(to);
    if (tries === 0 && answered !== undefined && known.includes(answered)) return answered;
    const [first, ...rest] = known;
    // Nobody that is not a member is called.
    if (first === undefined) return undefined;
    const all = new Set([first, this.#live(this.#called, to)?.at, this.#told.get(to), ...rest]);
    all.delete(undefined);
    return [...all][tries % all.size];
  }

  #live(connections: ReadonlyMap<MemberId, Connection>, to: MemberId): Connection | undefined {
    const connection = connections.get(to);
    return connection === undefined || connection.closed ? undefined : connection;
  }

  /** Why this member is not reached; undefined: it is, or it has called. */
  problem(id: MemberId): string | undefined {
    if (this.#dialled.get(id)?.greeted || this.#called.has(id)) return undefined;
    return this.#redial.get(id)?.error ?? 'no answer yet';
  }

  /** What is sent before the connection is there waits in it. */
  #dial(to: MemberId, address: string): Connection {
    const connection = this.#open(to, address, 'messages');
    this.#dialled.set(to, connection);
    const timer = this.#options.clock.after(helloMs, () => {
      if (!connection.greeted) connection.end(new Error('no answer'));
    });
    connection.onClose = (error) => {
      timer.cancel();
      this.#forget(connection);
      if (this.#dialled.get(to) === connection) this.#dialled.delete(to);
      const before = this.#redial.get(to);
      const delayMs = Math.min(redialMs.last, 2 * (before?.delayMs ?? redialMs.first / 2));
      const why = error === undefined ? 'closed' : errorText(error);
      this.#redial.set(to, {
        delayMs,
        notBefore: this.#options.clock.monotonic() + delayMs,
        tries: (before?.tries ?? 0) + 1,
        error: `${new URL(address).host}: ${why}`,
      });
      if (delayMs === redialMs.first && !this.#closed)
        this.#options.log.info('raft: the connection to a member ended', { to: to.toString(16), error: why });
      this.#node?.unreachable(to);
    };
    connection.onFrame = (kind, payload) => {
      if (kind === frameKinds.refusal) throw refusal(payload);
      if (kind !== frameKinds.hello) return this.#received(connection, kind, payload);
      this.#checkHello(connection, payload);
      connection.reader.maxBytes = maxFrameBytes;
      connection.greeted = true;
      this.#answered.set(to, address);
      this.#redial.delete(to);
    };
    return connection;
  }

  #open(to: MemberId, address: string, purpose: Hello['purpose']): Connection {
    const connection = new Connection();
    connection.peer = to;
    connection.purpose = purpose;
    connection.at = address;
    this.#all.add(connection);
    const { hostname, port } = new URL(address);
    const { cert, key, ca } = this.#options.tls();
    connection.send(frameKinds.hello, [this.#hello(to, purpose)]);
    Bun.connect<Connection>({
      hostname,
      port: Number(port || 2380),
      data: connection,
      tls: { cert, key, ca, rejectUnauthorized: true, serverName: hostname },
      socket: {
        ...handlers,
        open: (socket) => {
          connection.socket = socket;
        },
        handshake: (_socket, authorized, error) => connection.shown(authorized, error),
        connectError: (_socket, error) => connection.end(error),
      },
    }).then(
      (socket) => {
        if (connection.closed) socket.end();
      },
      (error: unknown) => connection.end(error instanceof Error ? error : new Error(String(error))),
    );
    return connection;
  }

  #forget(connection: Connection): void {
    this.#all.delete(connection);
  }

  #received(connection: Connection, kind: number, payload: Uint8Array): void {
    if (kind !== frameKinds.message) throw new DecodeError(`a frame of kind ${kind} among messages`);
    const message = decodeMessage(payload);
    if (message.from !== connection.peer || message.to !== this.#options.id)
      throw new DecodeError(`a message from ${message.from} to ${message.to} came from ${connection.peer}`);
    this.#node?.step(message);
  }

  // --- hello

  #hello(to: MemberId, purpose: Hello['purpose']): Uint8Array {
    const { id, clusterId } = this.#options;
    const hello: Hello = { cluster: clusterId.toString(16), from: id, to, purpose, others: this.#connected(to) };
    if (this.#server !== undefined) hello.port = this.#server.port;
    if (!anyAddress.test(this.#hostname)) hello.host = this.#hostname;
    return utf8(JSON.stringify(hello));
  }

  /** Members that this one is connected with, but for `except`, and where they take calls. */
  #connected(except: MemberId): Record<string, string> {
    const others: Record<string, string> = {};
    const ids = [...new Set([...this.#dialled.keys(), ...this.#called.keys()])].filter((id) => id !== except);
    for (const id of ids) {
      const dialled = this.#live(this.#dialled, id);
      const at = dialled?.greeted ? dialled.at : this.#live(this.#called, id)?.at;
      if (isPeerUrl(at) && Object.keys(others).length < maxHelloOthers) others[id.toString(16)] = at;
    }
    return others;
  }

  #checkHello(connection: Connection, payload: Uint8Array): Hello {
    const { id, clusterId } = this.#options;
    let hello: Hello;
    try {
      hello = JSON.parse(utf8Text(payload)) as Hello;
    } catch {
      throw new DecodeError('a greeting that is not JSON');
    }
    const { cluster, from, to, purpose } = hello;
    if (!Number.isSafeInteger(from) || (purpose !== 'messages' && purpose !== 'snapshot'))
      throw new DecodeError('a greeting that does not say from whom or for what');
    if (cluster !== clusterId.toString(16))
      throw new DecodeError(
        `member ${from.toString(16)} is of cluster ${String(cluster)}, this is ${clusterId.toString(16)}`,
      );
    if (to !== id) throw new DecodeError(`a call for member ${Number(to).toString(16)}, this is ${id.toString(16)}`);
    if (connection.peer !== 0 && connection.peer !== from)
      throw new DecodeError(`member ${from.toString(16)} answers instead of ${connection.peer.toString(16)}`);
    for (const [other, url] of othersOf(hello))
      if (other !== id && this.#options.addresses(other).length > 0) this.#told.set(other, url);
    return hello;
  }

  #expectHello(connection: Connection, accepted: (hello: Hello) => void): void {
    const timer = this.#options.clock.after(helloMs, () => connection.end(new Error('no greeting came')));
    connection.onClose = (error) => {
      timer.cancel();
      this.#forget(connection);
      if (error !== undefined) this.#options.log.warn('raft: a caller was refused', { error: errorText(error) });
    };
    connection.onFrame = (kind, payload) => {
      if (kind !== frameKinds.hello) throw new DecodeError(`a frame of kind ${kind} before the greeting`);
      let hello: Hello;
      try {
        hello = this.#checkHello(connection, payload);
      } catch (error) {
        connection.send(frameKinds.refusal, [utf8(errorText(error))]);
        throw error;
      }
      timer.cancel();
      connection.peer = hello.from;
      connection.purpose = hello.purpose;
      connection.reader.maxBytes = maxFrameBytes;
      accepted(hello);
    };
  }

  #accepted(connection: Connection, { from, purpose, host, port }: Hello): void {
    connection.at = urlAt(host ?? connection.socket?.remoteAddress, port);
    connection.send(frameKinds.hello, [this.#hello(from, purpose)]);
    if (purpose === 'snapshot') {
      this.#receiveSnapshot(connection);
      return;
    }
    this.#called.get(from)?.end();
    this.#called.set(from, connection);
    connection.onClose = () => {
      this.#forget(connection);
      if (this.#called.get(from) === connection) this.#called.delete(from);
    };
    connection.onFrame = (kind, payload) => this.#received(connection, kind, payload);
  }

  // --- snapshots

  async sendSnapshot(to: MemberId, term: number, snapshot: OutgoingSnapshot): Promise<void> {
    const address = this.#address(to);
    if (address === undefined)
      throw new AppError('PEER_UNKNOWN', `the address of member ${to.toString(16)} is not known`);
    const connection = this.#open(to, address, 'snapshot');
    const result = Promise.withResolvers<void>();
    result.promise.catch(() => undefined);
    let acknowledged = 0;
    let wake = (): void => undefined;
    let silence: Timer | undefined;
    const heard = (): void => {
      silence?.cancel();
      silence = this.#options.clock.after(snapshotSilenceMs, () => connection.end(new Error('the receiver is silent')));
    };
    heard();
    connection.onClose = (error) => {
      silence?.cancel();
      this.#forget(connection);
      result.reject(error ?? new Error('the connection was closed'));
      wake();
    };
    connection.onFrame = (kind, payload) => {
      heard();
      if (kind === frameKinds.refusal) throw refusal(payload);
      if (kind === frameKinds.hello) {
        this.#checkHello(connection, payload);
        connection.reader.maxBytes = maxFrameBytes;
      } else if (kind === frameKinds.snapshotProgress) {
        acknowledged = new ByteReader(payload).u32();
        wake();
      } else if (kind === frameKinds.snapshotResult) {
        const { error } = JSON.parse(utf8Text(payload)) as { error?: string };
        if (error === undefined) result.resolve();
        else result.reject(new AppError('SNAPSHOT_REFUSED', error));
        connection.end();
      } else throw new DecodeError(`a frame of kind ${kind} for a snapshot`);
    };
    const begin = new ByteWriter(64).u64(term).u64(snapshot.bytes);
    writeSnapshotMeta(begin, snapshot.meta);
    connection.send(frameKinds.snapshotBegin, [begin.finish()]);
    let sent = 0;
    let crc = 0xffff_ffff;
    for await (const piece of snapshot.pieces()) {
      while (sent - acknowledged >= maxPieces && !connection.closed)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      if (connection.closed) break;
      crc = rawCrc32c(crc, piece);
      connection.send(frameKinds.snapshotPiece, [piece]);
      sent++;
    }
    connection.send(frameKinds.snapshotEnd, [new ByteWriter(4).u32(crc).finish()]);
    await result.promise;
  }

  #receiveSnapshot(connection: Connection): void {
    const pieces = new PieceQueue();
    let crc = 0xffff_ffff;
    let bytes = 0;
    let expected = 0;
    let begun = false;
    connection.onClose = (error) => {
      this.#forget(connection);
      pieces.fail(error ?? new Error('the connection ended within the snapshot'));
    };
    pieces.taken = (count) => {
      if (count % progressEvery === 0)
        connection.send(frameKinds.snapshotProgress, [new ByteWriter(4).u32(count).finish()]);
    };
    connection.onFrame = (kind, payload) => {
      if (kind === frameKinds.snapshotBegin && !begun) {
        begun = true;
        if (payload.length > 16 + maxSnapshotMetaBytes) throw new DecodeError('the head of a snapshot is too long');
        const r = new ByteReader(payload);
        const term = r.u64();
        expected = r.u64();
        void this.#takeSnapshot(connection, term, readSnapshotMeta(r), pieces);
      } else if (kind === frameKinds.snapshotPiece && begun) {
        bytes += payload.length;
        if (bytes > expected)
          throw new DecodeError(`a snapshot of more than the ${expected} bytes that were announced`);
        crc = rawCrc32c(crc, payload);
        if (!pieces.push(payload.slice())) throw new DecodeError('more pieces than were asked for');
      } else if (kind === frameKinds.snapshotEnd && begun) {
        if (bytes !== expected || new ByteReader(payload).u32() !== crc)
          throw new DecodeError(`a snapshot of ${bytes} bytes, ${expected} were announced, or its checksum is wrong`);
        pieces.finish();
      } else throw new DecodeError(`a frame of kind ${kind} for a snapshot`);
    };
  }

  async #takeSnapshot(connection: Connection, term: number, meta: SnapshotMeta, pieces: PieceQueue): Promise<void> {
    let error: string | undefined;
    try {
      if (this.#node === undefined) throw new Error('this member is not ready');
      await this.#node.receiveSnapshot(connection.peer, term, meta, pieces);
    } catch (cause) {
      error = errorText(cause);
      this.#options.log.warn('raft: a snapshot was not received', { from: connection.peer.toString(16), error });
    }
    connection.send(frameKinds.snapshotResult, [utf8(JSON.stringify({ error }))]);
  }
}

/** What the other side says of a greeting that it does not take. */
function refusal(payload: Uint8Array): AppError {
  return new AppError('PEER_REFUSED', `it refuses: ${utf8Text(payload)}`);
}

/** Pieces between a socket and a file; bounded by what the sender may have on its way. */
class PieceQueue implements AsyncIterable<Uint8Array> {
  #pieces: Uint8Array[] = [];
  #wake: () => void = () => undefined;
  #finished = false;
  #error: Error | undefined;
  #count = 0;
  taken: (count: number) => void = () => undefined;

  push(piece: Uint8Array): boolean {
    if (this.#pieces.length > maxPieces) return false;
    this.#pieces.push(piece);
    this.#wake();
    return true;
  }

  finish(): void {
    this.#finished = true;
    this.#wake();
  }

  fail(error: Error): void {
    if (this.#finished) return;
    this.#error = error;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        yield piece;
        this.taken(++this.#count);
      } else if (this.#error !== undefined) throw this.#error;
      else if (this.#finished) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}
