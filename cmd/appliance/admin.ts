import { readFileSync } from 'node:fs';
import { AppError, errorCode, errorText, isRefused } from '../../internal/base/errors.ts';
import { nodeClock } from '../../internal/base/last-time-system.ts';
import { type ConfigArguments, runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import type { KubeClient } from '../../internal/kube/client/api.ts';
import { createKubeClient } from '../../internal/kube/client/client.ts';
import { httpsTransport } from '../../internal/kube/client/https-transport.ts';

export interface Admin {
  readonly client: KubeClient;
  /** The time as the server's roles have it: what ends is measured by that. */
  readonly nowMs: number;
  readonly ca: string;
}

/** The API of this server, with the administrator's certificate. `what` is asked for, in words. AppErrors ROOT and NOT_SERVER. */
export function adminOf(from: ConfigArguments, what: string): Admin {
  const config = runningConfig(from);
  const paths = nodePaths(config.dataDir, config.runDir);
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  try {
    const material = { ca: pem('server-ca.crt'), cert: pem('admin.crt'), key: pem('admin.key') };
    const baseUrl = `https://${config.node.ip}:${config.ports.api}`;
    return {
      ca: material.ca,
      nowMs: nodeClock(config.dataDir).now(),
      client: createKubeClient({ transport: httpsTransport(() => material), baseUrl, userAgent: 'appliance' }),
    };
  } catch (error) {
    const code = errorCode(error);
    if (code === 'EACCES')
      throw new AppError('ROOT', `${what}: that is root’s to do`, { hint: 'start it with sudo', cause: error });
    if (code !== 'ENOENT') throw error;
    throw new AppError('NOT_SERVER', `${what}: this machine is no server of a cluster, it has no administrator’s key`, {
      hint: 'call it on the machine where `appliance up` made the cluster',
    });
  }
}

/** What a request to that API answers. AppErrors NOT_RUNNING when nobody listens, UNREACHABLE. */
export async function reached<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (isRefused(error))
      throw new AppError('NOT_RUNNING', 'the Kubernetes API of this machine does not answer', {
        hint: 'start it first: appliance up',
        cause: error,
      });
    // What the API itself says is an AppError; a name of the system or of TLS is the network's.
    if (error instanceof AppError || errorCode(error) === undefined) throw error;
    throw new AppError('UNREACHABLE', `the Kubernetes API of this machine cannot be asked: ${errorText(error)}`, {
      hint: '`appliance status` tells how it is, `appliance doctor` what is wrong with the machine',
      cause: error,
    });
  }
}
