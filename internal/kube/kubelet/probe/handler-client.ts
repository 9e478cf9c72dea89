import { connect } from 'node:net';
import { errorText } from '../../../base/errors.ts';
import type { IntOrString } from '../../api/types.ts';
import type { CriClient } from '../cri/cri-client.ts';
import { GrpcTransport, RpcError } from '../../../rpc/grpc-transport.ts';
import type { Container, Handler } from '../pod-types.ts';
import { healthDefinition } from '../../../rpc/proto/load.ts';
import type { ProbeOutcome } from './probe-state.ts';

/** How much of an answer is read and shown. */
const maxBody = 10 * 1024;

export interface HandlerTarget {
  readonly container: Container;
  readonly containerId: string;
  readonly podIP: string;
  readonly cri: CriClient;
}

const success = (message: string): ProbeOutcome => ({ result: 'success', message });
const failure = (message: string): ProbeOutcome => ({ result: 'failure', message });

/** The number of a port that is given as a number or by a container port's name; 0 when there is none of that name. */
export function portNumber(container: Container, port: IntOrString): number {
  if (typeof port === 'number') return port;
  const named = container.ports?.find((p) => p.name === port);
  return named?.containerPort ?? (/^\d+$/.test(port) ? Number(port) : 0);
}

/** Runs what a probe or a hook describes. What cannot be run is a failure, or unknown where nobody can tell; throws for what cannot be put together. */
export async function runHandler(handler: Handler, target: HandlerTarget, timeoutMs: number): Promise<ProbeOutcome> {
  if (handler.exec) return execHandler(handler.exec.command ?? [], target, timeoutMs);
  if (handler.httpGet) return httpHandler(handler.httpGet, target, timeoutMs);
  if (handler.tcpSocket) {
    const port = portNumber(target.container, handler.tcpSocket.port);
    return tcpHandler(handler.tcpSocket.host || target.podIP, port, timeoutMs);
  }
  if (handler.grpc) return grpcHandler(handler.grpc, target, timeoutMs);
  return { result: 'unknown', message: 'no exec, httpGet, tcpSocket or grpc is given' };
}

async function execHandler(
  command: readonly string[],
  target: HandlerTarget,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  try {
    const answer = await target.cri.execSync(target.containerId, command, Math.max(1, Math.round(timeoutMs / 1000)));
    const text = new TextDecoder().decode(Buffer.concat([answer.stdout, answer.stderr]).subarray(0, maxBody));
    return answer.exitCode === 0 ? success(text) : failure(text || `command exited with ${answer.exitCode}`);
  } catch (error) {
    const timedOut =
      error instanceof RpcError && (error.status === 'DEADLINE_EXCEEDED' || /timed? ?out|timeout/i.test(error.message));
    if (timedOut) return failure(`command timed out: "${command.join(' ')}" timed out after ${timeoutMs / 1000}s`);
    const answered = error instanceof RpcError && error.status === 'UNKNOWN';
    return { result: answered ? 'failure' : 'unknown', message: errorText(error) };
  }
}

async function httpHandler(
  get: NonNullable<Handler['httpGet']>,
  target: HandlerTarget,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  const port = portNumber(target.container, get.port);
  const host = get.host || target.podIP;
  const path = get.path ? (get.path.startsWith('/') ? get.path : `/${get.path}`) : '/';
  const url = `${(get.scheme ?? 'HTTP').toLowerCase()}://${host.includes(':') ? `[${host}]` : host}:${port}${path}`;
  const headers = new Headers({ 'user-agent': 'kube-probe/1.36', accept: '*/*', connection: 'close' });
  for (const header of get.httpHeaders ?? []) headers.append(header.name, header.value);
  try {
    const response = await fetch(url, {
      headers,
      redirect: 'manual',
      signal: AbortSignal.timeout(timeoutMs),
      keepalive: false,
      tls: { rejectUnauthorized: false },
    });
    const text = await readSome(response);
    if (response.status >= 200 && response.status < 400) return success(text);
    return failure(`HTTP probe failed with statuscode: ${response.status}`);
  } catch (error) {
    const late = error instanceof DOMException && error.name === 'TimeoutError';
    return failure(
      `Get "${url}": ${late ? 'context deadline exceeded (Client.Timeout exceeded while awaiting headers)' : errorText(error)}`,
    );
  }
}

async function readSome(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (!reader) return '';
  const pieces: Uint8Array[] = [];
  let length = 0;
  while (length < maxBody) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    length += value.length;
  }
  await reader.cancel().catch(() => undefined);
  return new TextDecoder().decode(Buffer.concat(pieces).subarray(0, maxBody));
}

function tcpHandler(host: string, port: number, timeoutMs: number): Promise<ProbeOutcome> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (outcome: ProbeOutcome): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket.setTimeout(timeoutMs, () => end(failure(`dial tcp ${host}:${port}: i/o timeout`)));
    socket.once('connect', () => end(success('')));
    socket.once('error', (error) => end(failure(`dial tcp ${host}:${port}: ${errorText(error)}`)));
  });
}

async function grpcHandler(
  grpc: NonNullable<Handler['grpc']>,
  target: HandlerTarget,
  timeoutMs: number,
): Promise<ProbeOutcome> {
  const transport = new GrpcTransport(`${target.podIP}:${grpc.port}`, healthDefinition());
  try {
    const answer = await transport.unary<{ status: string }>(
      'grpc.health.v1.Health',
      'Check',
      { service: grpc.service ?? '' },
      { timeoutMs },
    );
    if (answer.status === 'SERVING') return success('service healthy');
    return failure(`service unhealthy (responded with "${answer.status}")`);
  } catch (error) {
    const status = error instanceof RpcError ? error.status : '';
    if (status === 'UNIMPLEMENTED')
      return failure('this server does not implement the grpc health protocol (grpc.health.v1.Health)');
    if (status === 'DEADLINE_EXCEEDED')
      return failure(`timeout: health rpc did not complete within ${timeoutMs / 1000}s`);
    return failure(`error: this service did not respond to the health check: ${errorText(error)}`);
  } finally {
    transport.close();
  }
}
