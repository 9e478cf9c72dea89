import { readFileSync, statSync } from 'node:fs';
import { AppError, errorText } from '../../base/errors.ts';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import type { KubeClient } from '../client/api.ts';
import { createKubeClient } from '../client/client.ts';
import { balancedTransport } from '../client/balanced-transport.ts';
import type { TlsMaterial } from '../client/https-transport.ts';
import { apiserverName } from '../../pki/leaves.ts';

interface Material {
  ca: string;
  cert: string;
  key: string;
}

/** Reads certificate files again when they change; looking is cheap enough for every request. */
function freshMaterial(files: { ca: string; cert: string; key: string }): () => Material {
  let seen = '';
  let material: Material | undefined;
  return () => {
    try {
      const print = [files.ca, files.cert, files.key].map((file) => statSync(file).mtimeMs).join();
      if (!material || print !== seen) {
        material = {
          ca: readFileSync(files.ca, 'utf8'),
          cert: readFileSync(files.cert, 'utf8'),
          key: readFileSync(files.key, 'utf8'),
        };
        seen = print;
      }
      return material;
    } catch (error) {
      throw new AppError('PKI', `cannot read the client certificate ${files.cert}: ${errorText(error)}`, {
        cause: error,
      });
    }
  };
}

/** Servers of the cluster as joining and the agent write them down; read again when they change. */
function knownServers(file: string): () => readonly string[] {
  let seen = Number.NaN;
  let servers: readonly string[] = [];
  return () => {
    const mtimeMs = statSync(file, { throwIfNoEntry: false })?.mtimeMs;
    if (mtimeMs !== undefined && mtimeMs !== seen) {
      servers = JSON.parse(readFileSync(file, 'utf8')) as string[];
      seen = mtimeMs;
    }
    return servers;
  };
}

/** A client of this cluster's API with the identity in `<identity>/<name>.crt` and `.key`: of the server on this node while that answers, else of any of the cluster. */
export function apiClient(config: Config, paths: Paths, name: string, userAgent: string): KubeClient {
  const directory = paths.identity;
  const files = { ca: `${directory}/server-ca.crt`, cert: `${directory}/${name}.crt`, key: `${directory}/${name}.key` };
  const fresh = freshMaterial(files);
  // By name, as addresses change.
  const material = (): TlsMaterial => ({ ...fresh(), serverName: apiserverName });
  const known = knownServers(`${directory}/servers.json`);
  const local = config.roles.includes('server') ? [`${config.node.ip}:${config.ports.api}`] : [];
  const servers = (): string[] => [...new Set([...local, ...known()])];
  return createKubeClient({
    transport: balancedTransport(material, servers),
    baseUrl: 'https://kubernetes',
    userAgent,
  });
}
