import type { Duplex } from 'node:stream';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import { channel, errorContent, joinChannel, type RemoteCommandProtocol, splitChannel } from './channels.ts';
import { dataFrame, frameType, HeaderBlockWriter, pingFrame, SpdyReader, synStreamFrame } from './spdy.ts';
import type { Upgraded } from './upgrade-client.ts';
import { closeFrame, opcode, wsFrame, WsReader } from './websocket.ts';

export interface StreamsWanted {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

const pingEveryMs = 10_000;

/**
 * Joins a client's WebSocket with containerd's SPDY connection: each channel is a stream there (what upstream's StreamTranslator does). Ends
 * when either side does. `head` is what the client sent behind its request.
 */
export function translateRemoteCommand(
  client: Duplex,
  head: Uint8Array,
  upstream: Upgraded,
  protocol: RemoteCommandProtocol,
  wanted: StreamsWanted,
  log: Logger,
): void {
  const { socket } = upstream;
  const headers = new HeaderBlockWriter();
  const ids = new Map<number, number>();
  const channels = new Map<number, number>();
  let next = 1;
  const open = (id: number, streamType: string): void => {
    ids.set(id, next);
    channels.set(next, id);
    socket.write(synStreamFrame(next, headers.block({ streamType })));
    next += 2;
  };
  open(channel.error, 'error');
  if (wanted.stdin) open(channel.stdin, 'stdin');
  if (wanted.stdout) open(channel.stdout, 'stdout');
  if (wanted.stderr && !wanted.tty) open(channel.stderr, 'stderr');
  if (wanted.tty) open(channel.resize, 'resize');

  let ended = false;
  const send = (id: number, data: Uint8Array): boolean => {
    const { binary, message } = joinChannel(protocol, id, data);
    return client.write(wsFrame(binary ? opcode.binary : opcode.text, message));
  };
  const end = (code: number, reason = ''): void => {
    if (ended) return;
    // The runtime may close without ending the error stream: what it said of the exit status still counts.
    finishErrors();
    ended = true;
    clearInterval(ping);
    if (!client.destroyed) {
      client.write(closeFrame(code, reason));
      client.end();
    }
    socket.end();
    socket.destroySoon();
  };
  const ping = setInterval(() => {
    if (!client.destroyed) client.write(wsFrame(opcode.ping, new Uint8Array(0)));
  }, pingEveryMs);
  // Tells the client that the connection stands, as upstream does.
  send(wanted.stdout ? channel.stdout : wanted.stderr ? channel.stderr : channel.error, new Uint8Array(0));

  const fromClient = new WsReader();
  const onClient = (chunk: Uint8Array): void => {
    try {
      for (const message of fromClient.push(chunk)) {
        if (message.kind === 'ping') client.write(wsFrame(opcode.pong, message.data));
        else if (message.kind === 'close') end(1000);
        else if (message.kind === 'data') take(message.data);
      }
    } catch (error) {
      log.debug('client broke the WebSocket protocol', { error: errorText(error) });
      end(1002, 'protocol error');
    }
  };
  const take = (message: Uint8Array): void => {
    const part = splitChannel(protocol, message);
    if (!part) return;
    if (part.id === channel.close && protocol === 'v5.channel.k8s.io') {
      const stream = ids.get(part.data[0] ?? -1);
      if (stream !== undefined) socket.write(dataFrame(stream, new Uint8Array(0), true));
      return;
    }
    const stream = part.id === channel.stdin || part.id === channel.resize ? ids.get(part.id) : undefined;
    if (stream === undefined || part.data.length === 0) return;
    if (!socket.write(dataFrame(stream, part.data))) {
      client.pause();
      socket.once('drain', () => client.resume());
    }
  };

  const fromRuntime = new SpdyReader();
  const errors: Uint8Array[] = [];
  const onRuntime = (chunk: Uint8Array): void => {
    try {
      for (const frame of fromRuntime.push(chunk)) {
        if (frame.kind === 'control') {
          // Pings of a server have even numbers and want an answer.
          if (frame.type === frameType.ping && frame.streamId % 2 === 0) socket.write(pingFrame(frame.streamId));
          continue;
        }
        const id = channels.get(frame.streamId);
        if (id === undefined) continue;
        if (id === channel.error) {
          errors.push(frame.data.slice());
          if (frame.fin) finishErrors();
        } else if (frame.data.length > 0 && !send(id, frame.data)) {
          socket.pause();
          client.once('drain', () => socket.resume());
        }
      }
    } catch (error) {
      log.debug('runtime broke the SPDY protocol', { error: errorText(error) });
      end(1011, 'stream broken');
    }
  };
  const finishErrors = (): void => {
    const status = Buffer.concat(errors);
    errors.length = 0;
    if (status.length === 0) return;
    const content = errorContent(protocol, status);
    if (content.length > 0) send(channel.error, content);
  };

  client.on('data', onClient);
  client.on('error', () => client.destroy());
  client.on('close', () => {
    clearInterval(ping);
    socket.destroy();
  });
  socket.on('data', onRuntime);
  socket.on('error', () => socket.destroy());
  socket.on('end', () => end(1000));
  socket.on('close', () => end(1000));
  if (upstream.rest.length > 0) onRuntime(upstream.rest);
  if (head.length > 0) onClient(head);
  socket.resume();
  client.resume();
}

/** Passes SPDY bytes through WebSocket messages, as kubectl's port-forward tunnels them. */
export function tunnel(client: Duplex, head: Uint8Array, upstream: Upgraded, log: Logger): void {
  const { socket } = upstream;
  const reader = new WsReader();
  const onClient = (chunk: Uint8Array): void => {
    try {
      for (const message of reader.push(chunk)) {
        if (message.kind === 'ping') client.write(wsFrame(opcode.pong, message.data));
        else if (message.kind === 'close') socket.end();
        else if (message.kind === 'data' && !socket.write(message.data)) {
          client.pause();
          socket.once('drain', () => client.resume());
        }
      }
    } catch (error) {
      log.debug('client broke the WebSocket protocol', { error: errorText(error) });
      client.destroy();
    }
  };
  client.on('data', onClient);
  client.on('error', () => client.destroy());
  client.on('close', () => socket.destroy());
  socket.on('data', (chunk: Uint8Array) => {
    if (!client.write(wsFrame(opcode.binary, chunk))) {
      socket.pause();
      client.once('drain', () => socket.resume());
    }
  });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    if (client.destroyed) return;
    client.write(closeFrame(1000));
    client.end();
  });
  if (upstream.rest.length > 0) client.write(wsFrame(opcode.binary, upstream.rest));
  if (head.length > 0) onClient(head);
  socket.resume();
  client.resume();
}
