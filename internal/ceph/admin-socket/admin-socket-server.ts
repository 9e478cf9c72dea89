import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { errorText } from '../../base/errors.ts';
import { makeDirectory } from '../../base/files-system.ts';
import type { Logger } from '../../base/log.ts';
import type { Paths } from '../../config/paths.ts';
import { type AdminCommands, answerRequest, framed, RequestReader } from './protocol.ts';

/** Connections at once; more are closed. */
const connectionsMax = 16;
/** A request comes at once, and its answer is taken. */
const idleMs = 60_000;
/** `sun_path` of Linux, with the NUL at its end. */
const pathBytesMax = 107;

export interface AdminSocket {
  close(): Promise<void>;
}

/**
 * Serves a daemon's admin socket: whoever may open it (0600, in a directory of the instance's own) may run every command. A daemon goes on without one when it
 * cannot be made, and its log says why.
 */
export async function serveAdminSocket(
  { instance, paths, log }: { instance: string; paths: Pick<Paths, 'adminSocket'>; log: Logger },
  commands: AdminCommands,
): Promise<AdminSocket> {
  const path = paths.adminSocket(instance);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    if (sockets.size >= connectionsMax) return socket.destroy();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    serve(socket, commands, log);
  });
  try {
    await listen(server, path);
  } catch (error) {
    log.warn('there is no admin socket: `ceph daemon` does not reach this daemon', { path, error: errorText(error) });
    return { close: () => Promise.resolve() };
  }
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
        rmSync(path, { force: true });
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > pathBytesMax)
    return Promise.reject(new RangeError(`a socket's path has at most ${pathBytesMax} bytes`));
  makeDirectory(dirname(path), 0o700);
  // Of an earlier process: the supervisor runs one at a time.
  rmSync(path, { force: true });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, () => {
      server.off('error', reject);
      chmodSync(path, 0o600);
      resolve();
    });
  });
}

function serve(socket: Socket, commands: AdminCommands, log: Logger): void {
  const reader = new RequestReader();
  socket.setTimeout(idleMs, () => socket.destroy());
  // A client that went away is not missed.
  socket.on('error', () => socket.destroy());
  const onData = (chunk: Buffer): void => {
    let request: string | undefined;
    try {
      request = reader.push(chunk);
    } catch (error) {
      log.info('a request over the admin socket was refused', { error: errorText(error) });
      socket.destroy();
      return;
    }
    if (request === undefined) return;
    socket.off('data', onData);
    answerRequest(request, commands).then(
      (answer) => socket.end(framed(answer)),
      (error: unknown) => {
        log.error('a command over the admin socket failed', { error: errorText(error) });
        socket.destroy();
      },
    );
  };
  socket.on('data', onData);
}
