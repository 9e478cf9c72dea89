import type { KubeObject } from '../client/api.ts';
import { configMapsRef, namespacesRef, serviceAccountsRef } from '../client/resources.ts';
import { isStatus } from '../machinery/status.ts';
import type { ControllerContext, SetUpController } from './context.ts';

const rootCertificates = 'kube-root-ca.crt';

interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
}

/**
 * Every namespace has a service account `default` and a ConfigMap `kube-root-ca.crt` with the certificate that proves the API server
 * (kube-controller-manager's serviceaccount and root-ca-cert-publisher controllers).
 */
export function serviceAccountController(rootCa: string): SetUpController {
  return (context: ControllerContext): void => {
    const { client } = context;
    const namespaces = context.informers.of(namespacesRef);
    const accounts = context.informers.of(serviceAccountsRef);
    const configMaps = context.informers.of<ConfigMap>(configMapsRef);
    const queue = context.queue('service-account', reconcile);
    const ofNamespace = (object: KubeObject): void => queue.add(object.metadata.namespace!);
    namespaces.handle({
      onAdd: (namespace) => queue.add(namespace.metadata.name),
      onUpdate: (namespace) => queue.add(namespace.metadata.name),
    });
    accounts.handle({ onDelete: ofNamespace });
    const published = (object: ConfigMap): void => {
      if (object.metadata.name === rootCertificates) ofNamespace(object);
    };
    configMaps.handle({ onUpdate: published, onDelete: published });

    async function reconcile(name: string): Promise<void> {
      const namespace = namespaces.get(name);
      if (!namespace || namespace.metadata.deletionTimestamp) return;
      const data = { 'ca.crt': rootCa };
      const configMap = configMaps.get(`${name}/${rootCertificates}`);
      if (!configMap) {
        await made(
          client.create<ConfigMap>(configMapsRef, {
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: {
              name: rootCertificates,
              namespace: name,
              annotations: {
                'kubernetes.io/description': 'Contains a CA bundle that verifies the API server of this cluster.',
              },
            },
            data,
          }),
        );
      } else if (configMap.data?.['ca.crt'] !== rootCa)
        await client.patch(configMapsRef, rootCertificates, name, 'merge', { data });
      if (!accounts.get(`${name}/default`))
        await made(
          client.create(serviceAccountsRef, {
            apiVersion: 'v1',
            kind: 'ServiceAccount',
            metadata: { name: 'default', namespace: name },
          }),
        );
    }
  };
}

async function made(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isStatus(error, 'AlreadyExists', 'NotFound')) throw error;
  }
}
