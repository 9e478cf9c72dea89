import { rbdDriverName } from '../csi/identity.ts';
import type { Config } from '../config/config.ts';
import type { KubeObject, ResourceRef } from '../kube/client/api.ts';

/** Rook's names: the namespace, also the cluster id that CSI volumes carry. */
export const rookNamespace = 'rook-ceph';
/** The pool of Rook's example StorageClass. */
export const blockPool = 'replicapool';
export const blockStorageClass = 'rook-ceph-block';

/** A key that CSI uses: the Ceph entity without `client.` and its base64 key. */
export interface CsiUser {
  userID: string;
  userKey: string;
}

/** An object that must exist as it is here; fields that it does not name are left to others. */
export interface Desired {
  resource: ResourceRef;
  object: KubeObject & Record<string, unknown>;
}

/** Objects that come from somewhere else and may change, such as a file. */
export interface DesiredSource {
  /** For messages and as its identity: the path. */
  what: string;
  /** Another one each time that the content changes. */
  version: string;
  /** Throws what is wrong with it, in words. */
  read(): Promise<Desired[]>;
}

const core = (resource: string): ResourceRef => ({ group: '', version: 'v1', resource });

function meta(name: string, namespace?: string): { name: string; namespace?: string; labels: Record<string, string> } {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    labels: { 'app.kubernetes.io/managed-by': 'appliance' },
  };
}

/** What the storage part brings: namespace, CSI credentials, driver and StorageClass for volumes in `pool`, by the names that Rook gives them. `monitors`: `host:port` each. */
export function storageObjects(
  monitors: readonly string[],
  users: { provisioner: CsiUser; node: CsiUser },
  pool: string,
): Desired[] {
  const secret = (name: string, user: CsiUser): Desired => ({
    resource: core('secrets'),
    object: {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: meta(name, rookNamespace),
      type: 'kubernetes.io/rook',
      data: Object.fromEntries(
        Object.entries(user).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
      ),
    },
  });
  const secretParameters = (use: string, name: string): Record<string, string> => ({
    [`csi.storage.k8s.io/${use}-secret-name`]: name,
    [`csi.storage.k8s.io/${use}-secret-namespace`]: rookNamespace,
  });
  return [
    { resource: core('namespaces'), object: { apiVersion: 'v1', kind: 'Namespace', metadata: meta(rookNamespace) } },
    secret('rook-csi-rbd-provisioner', users.provisioner),
    secret('rook-csi-rbd-node', users.node),
    {
      resource: core('configmaps'),
      object: {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: meta('rook-ceph-csi-config', rookNamespace),
        data: {
          'csi-cluster-config-json': JSON.stringify([{ clusterID: rookNamespace, monitors, namespace: rookNamespace }]),
        },
      },
    },
    {
      resource: { group: 'storage.k8s.io', version: 'v1', resource: 'csidrivers' },
      object: {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'CSIDriver',
        metadata: meta(rbdDriverName),
        spec: {
          attachRequired: false,
          podInfoOnMount: false,
          fsGroupPolicy: 'File',
          volumeLifecycleModes: ['Persistent'],
        },
      },
    },
    {
      resource: { group: 'storage.k8s.io', version: 'v1', resource: 'storageclasses' },
      object: {
        apiVersion: 'storage.k8s.io/v1',
        kind: 'StorageClass',
        metadata: {
          ...meta(blockStorageClass),
          annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' },
        },
        provisioner: rbdDriverName,
        parameters: {
          clusterID: rookNamespace,
          pool,
          imageFormat: '2',
          imageFeatures: 'layering',
          ...secretParameters('provisioner', 'rook-csi-rbd-provisioner'),
          ...secretParameters('node-stage', 'rook-csi-rbd-node'),
          'csi.storage.k8s.io/fstype': 'ext4',
        },
        reclaimPolicy: 'Delete',
        allowVolumeExpansion: false,
        volumeBindingMode: 'Immediate',
      },
    },
  ];
}

/** What the edge role needs: the cluster's DNS service (its endpoints: `controllers/cluster-dns.ts`), and leave to read what it answers from. */
export function edgeObjects(config: Config, edgeUser: string): Desired[] {
  const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1' };
  const ports = [
    { name: 'dns', protocol: 'UDP' },
    { name: 'dns-tcp', protocol: 'TCP' },
  ];
  return [
    {
      resource: core('services'),
      object: {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: {
          ...meta('kube-dns', 'kube-system'),
          labels: {
            'app.kubernetes.io/managed-by': 'appliance',
            'k8s-app': 'kube-dns',
            'kubernetes.io/cluster-service': 'true',
            'kubernetes.io/name': 'CoreDNS',
          },
        },
        spec: {
          clusterIP: config.cluster.dnsIP,
          type: 'ClusterIP',
          trafficDistribution: 'PreferSameNode',
          ports: ports.map((port) => ({ ...port, port: 53, targetPort: config.ports.dns })),
        },
      },
    },
    {
      resource: { ...rbac, resource: 'clusterroles' },
      object: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: meta('system:appliance:edge'),
        rules: [
          {
            apiGroups: [''],
            resources: ['services', 'nodes'],
            verbs: ['get', 'list', 'watch'],
          },
          { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['get', 'list', 'watch'] },
        ],
      },
    },
    {
      resource: { ...rbac, resource: 'clusterrolebindings' },
      object: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: meta('system:appliance:edge'),
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:appliance:edge' },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: edgeUser }],
      },
    },
  ];
}

/** The group that our controllers act in. */
export const controllersGroup = 'system:appliance:controllers';

/** What the controllers may do: every object of every kind, as a garbage collector must, but not escalate, bind or impersonate. */
export function controllerObjects(): Desired[] {
  const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1' };
  return [
    {
      resource: { ...rbac, resource: 'clusterroles' },
      object: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRole',
        metadata: meta(controllersGroup),
        rules: [
          {
            apiGroups: ['*'],
            resources: ['*'],
            verbs: ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'],
          },
          {
            apiGroups: ['certificates.k8s.io'],
            resources: ['signers'],
            resourceNames: ['kubernetes.io/*'],
            verbs: ['approve', 'sign'],
          },
        ],
      },
    },
    {
      resource: { ...rbac, resource: 'clusterrolebindings' },
      object: {
        apiVersion: 'rbac.authorization.k8s.io/v1',
        kind: 'ClusterRoleBinding',
        metadata: meta(controllersGroup),
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: controllersGroup },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'Group', name: controllersGroup }],
      },
    },
  ];
}
