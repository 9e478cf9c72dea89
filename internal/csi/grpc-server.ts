import { chmodSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  loadPackageDefinition,
  Server,
  type sendUnaryData,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceClientConstructor,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { AppError, errorCode, errorText } from '../base/errors.ts';
import { makeDirectory } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { csiDefinition } from '../rpc/proto/load.ts';

/** A refusal with a gRPC status of the CSI specification. */
export class CsiError extends AppError {
  readonly status: status;
  constructor(code: keyof typeof status, message: string, cause?: unknown) {
    super(code, message, cause === undefined ? {} : { cause });
    this.status = status[code];
  }
}

/** A method: the request as the loaded .proto gives it, the answer likewise. */
export type CsiMethod = (request: never) => Promise<object> | object;
export type CsiService = Record<string, CsiMethod>;

/** The names of CSI's services. */
export interface CsiServices {
  Identity: CsiService;
  Controller?: CsiService;
  Node?: CsiService;
}

/** Serves a driver on a unix socket (0600). Methods that a service does not have answer UNIMPLEMENTED. */
export async function serveCsi(
  socketPath: string,
  services: CsiServices,
  log: Logger,
): Promise<{ close(): Promise<void> }> {
  makeDirectory(dirname(socketPath), 0o750);
  rmSync(socketPath, { force: true });
  const server = new Server({ 'grpc.max_receive_message_length': 4 << 20 });
  const csi = (loadPackageDefinition(csiDefinition()).csi as Record<string, Record<string, ServiceClientConstructor>>)
    .v1!;
  for (const [name, methods] of Object.entries(services) as [string, CsiService][]) {
    const implementation: UntypedServiceImplementation = {};
    for (const [method, handler] of Object.entries(methods)) {
      implementation[method] = (call: ServerUnaryCall<unknown, unknown>, callback: sendUnaryData<unknown>) => {
        void (async () => handler(call.request as never))().then(
          (value) => callback(null, value),
          (error: unknown) => {
            const code = error instanceof CsiError ? error.status : status.INTERNAL;
            log.warn('csi call failed', { service: name, method, code: status[code], error: errorText(error) });
            callback({ code, details: errorText(error), name: errorCode(error) ?? 'error', message: errorText(error) });
          },
        );
      };
    }
    server.addService(csi[name]!.service, implementation);
  }
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  chmodSync(socketPath, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.forceShutdown(), 2000);
        server.tryShutdown(() => {
          clearTimeout(force);
          rmSync(socketPath, { force: true });
          resolve();
        });
      }),
  };
}
