/** Objects of the kinds that `describe.test.ts` looks at: one of each, with what kubectl tells of it. */
import { makeSigningRequest } from '../../../internal/pki/certificates.ts';
import type { Cluster } from '../api/harness.ts';

const template = `
    metadata: {labels: {app: web}, annotations: {note: of-pods}}
    spec:
      serviceAccountName: builder
      containers:
      - name: main
        image: example.com/main:1
        command: [serve]
        args: [--port=80]
        ports: [{name: http, containerPort: 80}]
        env: [{name: LEVEL, value: debug}, {name: P, valueFrom: {secretKeyRef: {name: password, key: p}}}]
        resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}
        livenessProbe: {httpGet: {path: /live, port: http}, periodSeconds: 7}
        volumeMounts: [{name: config, mountPath: /etc/config, readOnly: true}]
      volumes: [{name: config, configMap: {name: script}}]`;

/** As YAML; `own` is the name of what is in no namespace. */
export async function manifest(namespace: string, own: string): Promise<string> {
  const { request } = await makeSigningRequest('jane');
  const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(request).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`;
  return `
apiVersion: v1
kind: ConfigMap
metadata: {name: script}
data: {run.sh: "echo hi\\n"}
binaryData: {blob: AAEC}
---
apiVersion: v1
kind: Secret
metadata: {name: password, labels: {kind: secret}}
type: Opaque
data: {p: aHVudGVyMg==}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: builder}
secrets: [{name: password}]
imagePullSecrets: [{name: pull}]
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: one}}
spec:
  nodeSelector: {disk: ssd}
  initContainers: [{name: prepare, image: example.com/init}]
  containers:
  - {name: main, image: example.com/main:1, env: [{name: LEVEL, value: debug}], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
---
apiVersion: v1
kind: PodTemplate
metadata: {name: form}
template: ${template}
---
apiVersion: apps/v1
kind: ControllerRevision
metadata: {name: web-1}
revision: 1
data: {spec: {}}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: leader}
spec: {holderIdentity: me}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: rc}
spec:
  replicas: 2
  selector: {app: web}
  template: ${template}
---
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: rs}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template: ${template}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 10%}}
  template: ${template}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: web}}
  template: ${template}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: counter}
spec:
  serviceName: web
  replicas: 2
  selector: {matchLabels: {app: web}}
  updateStrategy: {rollingUpdate: {partition: 1}}
  template: ${template}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: ${own}, resources: {requests: {storage: 3Gi}}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  parallelism: 2
  completions: 5
  activeDeadlineSeconds: 100
  template: ${template.replace('spec:', 'spec:\n      restartPolicy: Never')}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  concurrencyPolicy: Forbid
  jobTemplate:
    spec:
      template: {spec: {restartPolicy: Never, containers: [{name: main, image: "example.com/report:1"}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {who: me}}
spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, nodePort: 31234}], sessionAffinity: ClientIP}
---
apiVersion: v1
kind: Endpoints
metadata: {name: web}
subsets: [{addresses: [{ip: 10.42.0.9}], notReadyAddresses: [{ip: 10.42.0.10}], ports: [{name: http, port: 8080}]}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.42.0.9], conditions: {ready: true}, nodeName: ${own}, zone: here}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: site}
spec:
  ingressClassName: ${own}
  tls: [{hosts: [example.com], secretName: password}]
  rules: [{host: example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}}]
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ${own}}
spec: {controller: example.com/ingress, parameters: {apiGroup: example.com, kind: Settings, name: usual}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {app: one}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80}]}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 9
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 3, selector: {matchLabels: {app: web}}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: made}
spec: {hard: {pods: "100", requests.cpu: "8"}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: bounds}
spec: {limits: [{type: Container, max: {cpu: "2"}, default: {cpu: 500m}, defaultRequest: {cpu: 100m}}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], storageClassName: ${own}, resources: {requests: {storage: 2Gi}}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: ${own}}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteMany]
  storageClassName: ${own}
  nfs: {server: nfs.example.com, path: /exports}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [here]}]}]}}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: ${own}, annotations: {storageclass.kubernetes.io/is-default-class: "false"}}
provisioner: example.com/disks
parameters: {speed: fast}
reclaimPolicy: Retain
allowVolumeExpansion: true
mountOptions: [noatime]
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: storage.k8s.io/v1
kind: CSINode
metadata: {name: ${own}}
spec: {drivers: [{name: csi.example.com, nodeID: node-7, topologyKeys: [zone], allocatable: {count: 16}}]}
---
apiVersion: v1
kind: Node
metadata: {name: ${own}, labels: {disk: ssd}}
spec: {podCIDR: 10.42.7.0/24, taints: [{key: a, value: b, effect: NoSchedule}]}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: ${own}}
value: 1234
description: rather important
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], resourceNames: [one], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{kind: ServiceAccount, name: builder, namespace: ${namespace}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: ${own}}
rules: [{nonResourceURLs: [/healthz], verbs: [get]}, {apiGroups: [apps], resources: [deployments], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: ${own}}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ${own}}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}, {apiGroup: rbac.authorization.k8s.io, kind: Group, name: builders}]
---
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: ${own}}
spec: {request: ${Buffer.from(pem).toString('base64')}, signerName: example.com/signer, usages: [client auth], expirationSeconds: 700}
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: ${own}}
handler: gvisor
overhead: {podFixed: {cpu: 250m}}
`;
}

/** What controllers and kubelets would say. */
export async function tellStatus(cluster: Cluster, namespace: string, own: string): Promise<void> {
  const set = (groupVersion: string, plural: string, name: string, status: unknown, inside = true) =>
    cluster.resource(groupVersion, plural, inside ? namespace : undefined).patch(name, 'merge', { status }, 'status');
  const ready = { type: 'Ready', status: 'True', reason: 'KubeletReady', message: 'all is well' };
  await set(
    'v1',
    'nodes',
    own,
    { capacity: { cpu: '4', pods: '110' }, allocatable: { cpu: '3' }, conditions: [ready] },
    false,
  );
  await set('v1', 'pods', 'one', {
    phase: 'Running',
    podIP: '10.42.0.9',
    containerStatuses: [
      {
        name: 'main',
        image: 'example.com/main:1',
        imageID: 'sha256:abc',
        containerID: 'containerd://123',
        ready: false,
        restartCount: 4,
        state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off' } },
        lastState: { terminated: { exitCode: 137, reason: 'OOMKilled' } },
      },
    ],
  });
  const { uid } = (await cluster.resource('v1', 'pods', namespace).get('one')).metadata;
  await cluster.resource('v1', 'events', namespace).create({
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { name: 'one.happened' },
    involvedObject: { apiVersion: 'v1', kind: 'Pod', name: 'one', namespace, uid },
    reason: 'Happened',
    message: 'something was seen',
    type: 'Warning',
    source: { component: 'tester' },
    firstTimestamp: '2026-01-01T00:00:00Z',
    lastTimestamp: '2026-01-01T00:00:00Z',
    count: 3,
  });
  await set('v1', 'resourcequotas', 'made', {
    hard: { pods: '100', 'requests.cpu': '8' },
    used: { pods: '7', 'requests.cpu': '1' },
  });
  await set('v1', 'persistentvolumeclaims', 'data', { phase: 'Pending' });
  await set('apps/v1', 'deployments', 'web', {
    replicas: 4,
    updatedReplicas: 3,
    readyReplicas: 2,
    availableReplicas: 2,
    unavailableReplicas: 2,
  });
  await set('batch/v1', 'jobs', 'once', { startTime: '2026-01-01T00:00:00Z', active: 1, succeeded: 2, failed: 3 });
  await set('policy/v1', 'poddisruptionbudgets', 'web', {
    disruptionsAllowed: 1,
    currentHealthy: 4,
    desiredHealthy: 3,
    expectedPods: 4,
  });
  await set('autoscaling/v2', 'horizontalpodautoscalers', 'web', {
    currentReplicas: 4,
    desiredReplicas: 5,
    currentMetrics: [
      { type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: 93, averageValue: '93m' } } },
    ],
  });
  await set('networking.k8s.io/v1', 'ingresses', 'site', { loadBalancer: { ingress: [{ ip: '192.0.2.7' }] } });
}
