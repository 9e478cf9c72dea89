import { readFileSync, statSync } from 'node:fs';
import { AppError, errorText } from '../../base/errors.ts';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import type { KubeClient } from '../client/api.ts';
import { createKubeClient } from '../client/client.ts';
import { httpsTransport } from '../client/https-transport.ts';

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

/** A client of this cluster's API server with the identity in `<identity>/<name>.crt` and `.key`. */
export function apiClient(config: Config, paths: Paths, name: string, userAgent: string): KubeClient {
  const files = {
    ca: `${paths.identity}/server-ca.crt`,
    cert: `${paths.identity}/${name}.crt`,
    key: `${paths.identity}/${name}.key`,
  };
  return createKubeClient({
    transport: httpsTransport(freshMaterial(files)),
    baseUrl: `https://${config.node.ip}:${config.ports.api}`,
    userAgent,
  });
}
