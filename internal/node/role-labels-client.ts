import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Config } from '../config/config.ts';
import type { Node } from '../kube/api/types.ts';
import type { KubeClient, KubeObject } from '../kube/client/api.ts';
import { Informer } from '../kube/client/informer.ts';
import { nodesRef } from '../kube/client/resources.ts';

/** The labels that `kubectl get nodes` shows as ROLES, as K3s sets them on its servers. */
export function roleLabels({ datastore }: Pick<Config, 'datastore'>): Readonly<Record<string, string>> {
  return {
    'node-role.kubernetes.io/control-plane': 'true',
    ...(datastore === undefined ? { 'node-role.kubernetes.io/etcd': 'true' } : {}),
  };
}

/**
 * Keeps a server's own Node labelled from the moment on when the kubelet has made it; on a server without one there is nothing to label. The kubelet itself may
 * not set these (NodeRestriction). What has another value stays. Ends when `stopping` aborts.
 */
export async function keepRoleLabels(options: {
  client: KubeClient;
  node: string;
  labels: Readonly<Record<string, string>>;
  clock: Clock;
  log: Logger;
  stopping: AbortSignal;
}): Promise<void> {
  const { client, clock, labels, log, node, stopping } = options;
  const check = ({ metadata }: KubeObject): void => {
    const missing = Object.entries(labels).filter(([name]) => metadata.labels?.[name] === undefined);
    if (missing.length === 0) return;
    // The next report of its status asks again.
    client
      .patch(nodesRef, node, undefined, 'merge', { metadata: { labels: Object.fromEntries(missing) } })
      .catch((error: unknown) => log.warn('the labels of the roles are not set', { node, error: errorText(error) }));
  };
  const nodes = new Informer<Node & KubeObject>({
    client,
    resource: nodesRef,
    list: { fieldSelector: `metadata.name=${node}` },
    clock,
    log,
  });
  nodes.handle({ onAdd: check, onUpdate: check });
  await nodes.run(stopping);
}
