import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { builtinKinds } from '../../kube/api/builtin.ts';
import type { KubeClient, KubeObject, ResourceRef } from '../../kube/client/api.ts';
import type { Desired, DesiredSource } from '../../operator/objects.ts';

/** The files of the manifests directory, in the order of their names; each changes its version when it is written. */
export function manifestSources(directory: string, client: KubeClient): DesiredSource[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => /\.(ya?ml|json)$/.test(name))
    .sort()
    .flatMap((name) => {
      const file = join(directory, name);
      const stat = statSync(file, { throwIfNoEntry: false });
      // It was removed meanwhile.
      if (!stat?.isFile()) return [];
      return [
        { what: file, version: `${stat.mtimeMs} ${stat.size} ${stat.ino}`, read: () => readObjects(file, client) },
      ];
    });
}

async function readObjects(file: string, client: KubeClient): Promise<Desired[]> {
  const desired: Desired[] = [];
  for (const document of parseAllDocuments(readFileSync(file, 'utf8'))) {
    if (document.errors[0]) throw document.errors[0];
    const object = document.toJS() as (KubeObject & Record<string, unknown>) | null;
    if (!object) continue;
    if (typeof object.apiVersion !== 'string' || typeof object.kind !== 'string' || !object.metadata?.name)
      throw new Error('each document needs apiVersion, kind and metadata.name');
    const { resource, namespaced } = await resourceOf(object, client);
    if (namespaced) object.metadata.namespace ??= 'default';
    desired.push({ resource, object });
  }
  return desired;
}

async function resourceOf(
  object: KubeObject,
  client: KubeClient,
): Promise<{ resource: ResourceRef; namespaced: boolean }> {
  const apiVersion = object.apiVersion!;
  const slash = apiVersion.lastIndexOf('/');
  const group = slash < 0 ? '' : apiVersion.slice(0, slash);
  const version = apiVersion.slice(slash + 1);
  const builtin = builtinKinds.byKind(group, version, object.kind!);
  if (builtin) return { resource: { group, version, resource: builtin.plural }, namespaced: builtin.namespaced };
  // A custom one is known once its definition is.
  const found = (await client
    .raw('GET', slash < 0 ? `/api/${version}` : `/apis/${apiVersion}`)
    .catch(() => undefined)) as { resources?: { name: string; kind: string; namespaced: boolean }[] } | undefined;
  const custom = found?.resources?.find(({ name, kind }) => kind === object.kind && !name.includes('/'));
  if (!custom) throw new Error(`${apiVersion} ${object.kind} is not served`);
  return { resource: { group, version, resource: custom.name }, namespaced: custom.namespaced };
}
