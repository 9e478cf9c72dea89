import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { builtinKinds } from '../../kube/api/builtin.ts';
import type { KubeObject } from '../../kube/client/api.ts';
import type { Desired } from '../../operator/objects.ts';

/** Objects of the YAML files in the manifests directory; a file that cannot be read is told and left out. */
export function manifestObjects(directory: string, log: Logger): Desired[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .flatMap((name) => {
      try {
        return parseAllDocuments(readFileSync(join(directory, name), 'utf8'))
          .map((document) => document.toJS() as (KubeObject & Record<string, unknown>) | null)
          .flatMap((object): Desired[] => {
            if (!object) return [];
            const slash = object.apiVersion.lastIndexOf('/');
            const group = slash < 0 ? '' : object.apiVersion.slice(0, slash);
            const version = object.apiVersion.slice(slash + 1);
            const kind = builtinKinds.byKind(group, version, object.kind);
            if (!kind) throw new Error(`${object.apiVersion} ${object.kind} is not served`);
            if (kind.namespaced) object.metadata.namespace ??= 'default';
            return [{ resource: { group, version, resource: kind.plural }, object }];
          });
      } catch (error) {
        log.error('manifest is left out', { file: join(directory, name), error: errorText(error) });
        return [];
      }
    });
}
