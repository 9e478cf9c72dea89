import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { KindTable } from '../api/kinds.ts';
import type { KubeClient } from '../client/api.ts';
import { admissionPolicyStatusController } from './admission-policy-status.ts';
import { bootstrapTokensController } from './bootstrap-tokens.ts';
import { type Authorities, certificatesController } from './certificates.ts';
import { clusterDnsController } from './cluster-dns.ts';
import { runControllers } from './context.ts';
import { daemonSetController } from './daemon-set.ts';
import { deploymentController } from './deployment.ts';
import { disruptionController } from './disruption.ts';
import { endpointSliceController } from './endpoint-slice.ts';
import { garbageCollector } from './garbage-collector.ts';
import { namespaceController } from './namespace.ts';
import { nodeIpamController } from './node-ipam.ts';
import { nodeLifecycleController } from './node-lifecycle.ts';
import { persistentVolumeController, type VolumeProvisioner } from './persistent-volume.ts';
import { replicaSetController } from './replica-set.ts';
import { resourceQuotaController } from './resource-quota.ts';
import { serviceAccountController } from './service-account.ts';
import { serviceRangesController } from './service-ranges.ts';
import { statefulSetController } from './stateful-set.ts';
import { type TokenSecrets, tokenSecretsController } from './token-secrets.ts';

/** Runs every controller until `stop`. `rootCa` is what pods trust the API server by. */
export function startControllers(options: {
  client: KubeClient;
  kinds: KindTable;
  clock: Clock;
  random: Random;
  log: Logger;
  host: string;
  rootCa: string;
  /** Sign CertificateSigningRequests; undefined where nobody does. */
  authorities: Authorities | undefined;
  /** Makes the tokens of Secrets that are for one; undefined where nobody does. */
  signToken: TokenSecrets['sign'] | undefined;
  /** Of which every node gets a part. */
  podCIDR: string;
  /** Of the DNS server on every node; undefined where there is none. */
  dnsPort: number | undefined;
  provisioners: readonly VolumeProvisioner[];
}): { stop(): Promise<void> } {
  return runControllers(
    [
      garbageCollector,
      namespaceController,
      serviceAccountController(options.rootCa),
      nodeLifecycleController,
      nodeIpamController(options.podCIDR),
      ...(options.dnsPort === undefined ? [] : [clusterDnsController(options.dnsPort)]),
      persistentVolumeController(options.provisioners),
      replicaSetController,
      deploymentController,
      statefulSetController,
      daemonSetController,
      disruptionController,
      endpointSliceController,
      admissionPolicyStatusController,
      resourceQuotaController,
      bootstrapTokensController,
      serviceRangesController,
      ...(options.signToken === undefined
        ? []
        : [tokenSecretsController({ rootCa: options.rootCa, sign: options.signToken })]),
      ...(options.authorities === undefined ? [] : [certificatesController(options.authorities)]),
    ],
    options,
  );
}
