import { failure, forbidden, notFound } from '../machinery/status.ts';
import type { AdmissionPlugin } from './types.ts';

/** Namespaces that may not be deleted. */
const immortal = new Set(['default', 'kube-system', 'kube-public']);

/** NamespaceLifecycle: nothing is created in a namespace that does not exist or is going away. */
export const namespaceLifecycle: AdmissionPlugin = {
  name: 'NamespaceLifecycle',
  async admit(request, { reader }) {
    const { kind, namespace, operation } = request;
    if (kind.group === '' && kind.plural === 'namespaces') {
      if (operation === 'DELETE' && immortal.has(request.name))
        throw forbidden({ group: '', resource: 'namespaces' }, request.name, 'this namespace may not be deleted');
      return;
    }
    if (operation !== 'CREATE' || !kind.namespaced || namespace === '') return;
    // Access reviews must be possible for namespaces that are going away.
    if (kind.group === 'authorization.k8s.io') return;
    const fields = await reader.fields('', 'namespaces', '', namespace);
    if (fields === undefined) throw notFound({ group: '', resource: 'namespaces' }, namespace);
    if (fields['status.phase'] !== 'Terminating') return;
    const error = forbidden(
      { group: kind.group, resource: kind.plural },
      request.name,
      `unable to create new content in namespace ${namespace} because it is being terminated`,
    );
    throw failure(403, 'Forbidden', error.message, {
      ...error.status.details,
      causes: [
        {
          reason: 'NamespaceTerminating',
          message: `namespace ${namespace} is being terminated`,
          field: 'metadata.namespace',
        },
      ],
    });
  },
};
