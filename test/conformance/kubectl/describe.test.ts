/**
 * `kubectl describe` of every built-in kind that kubectl has a describer for, by what has to be seen: fields of the object, what refers to it, what it
 * refers to, its events; and of one that it has none for.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from '../api/harness.ts';
import { clients, Kubectl } from '../api/kubectl.ts';
import { manifest, tellStatus } from './describe-objects.ts';

let cluster: Cluster;
let namespace: string;
/** Names of what is in no namespace. */
let own: string;
beforeAll(async () => {
  cluster = await Cluster.start();
  namespace = await cluster.namespace();
  own = `of-${namespace}`;
  const kubectl = new Kubectl(cluster);
  try {
    await kubectl.must(['-n', namespace, 'apply', '-f', '-'], await manifest(namespace, own));
  } finally {
    kubectl.close();
  }
  await tellStatus(cluster, namespace, own);
});
afterAll(() => cluster.close());

const ofTemplate = [
  /Labels: +app=web/,
  /Annotations: +note: of-pods/,
  /Service Account: +builder/,
  /Image: +example\.com\/main:1/,
  /Port: +80\/TCP/,
  /Command:\n +serve\n +Args:\n +--port=80/,
  /Limits:\n +memory: +128Mi\n +Requests:\n +cpu: +100m\n +memory: +64Mi/,
  /Liveness: +http-get http:\/\/:http\/live delay=0s timeout=1s period=7s #success=1 #failure=3/,
  /LEVEL: +debug/,
  /P: +<set to the key 'p' in secret 'password'>/,
  /\/etc\/config from config \(ro\)/,
  /Type: +ConfigMap \(a volume populated by a ConfigMap\)\n +Name: +script/,
];

interface More {
  /** What 1.20 does not show. */
  readonly newer?: RegExp;
  /** 1.20 asks for a version that is gone. */
  readonly gone?: true;
}

/**
 * By resource: the name, and what is to be seen; `own` and `namespace` stand for the names of those. ServiceCIDR and IPAddress are not among them: 1.32 asks
 * for a beta version, which is off by default.
 */
const described: readonly (readonly [resource: string, name: string, seen: readonly RegExp[], more?: More])[] = [
  ['configmap', 'script', [/Name: +script/, /run\.sh:\n----\necho hi/], { newer: /BinaryData\n====\nblob: 3 bytes/ }],
  ['secret', 'password', [/Labels: +kind=secret/, /Type: +Opaque/, /p: +7 bytes/]],
  ['serviceaccount', 'builder', [/Image pull secrets: +pull/, /Mountable secrets: +password/, /Tokens: +<none>/]],
  [
    'pod',
    'one',
    [
      /Node-Selectors: +disk=ssd/,
      /Init Containers:\n +prepare:[\s\S]*Image: +example\.com\/init/,
      /IP: +10\.42\.0\.9/,
      /State: +Waiting\n +Reason: +CrashLoopBackOff/,
      /Last State: +Terminated\n +Reason: +OOMKilled\n +Exit Code: +137/,
      /Restart Count: +4/,
      /ClaimName: +data/,
      /QoS Class: +BestEffort/,
      /node\.kubernetes\.io\/not-ready:NoExecute op=Exists for 300s/,
      /Warning +Happened +.*tester +something was seen/,
    ],
  ],
  ['replicationcontroller', 'rc', [/Selector: +app=web/, /Replicas: +\d+ current \/ 2 desired/, ...ofTemplate]],
  ['replicaset', 'rs', [/Selector: +app=web/, /Replicas: +\d+ current \/ 3 desired/, ...ofTemplate]],
  [
    'deployment',
    'web',
    [
      /Replicas: +4 desired \| 3 updated \| 4 total \| 2 available \| 2 unavailable/,
      /StrategyType: +RollingUpdate/,
      /RollingUpdateStrategy: +10% max unavailable, 1 max surge/,
      ...ofTemplate,
    ],
  ],
  ['daemonset', 'agent', [/Selector: +app=web/, /Desired Number of Nodes Scheduled: +0/, ...ofTemplate]],
  [
    'statefulset',
    'counter',
    [
      /Replicas: +2 desired/,
      /Partition: +1/,
      /Volume Claims:\n +Name: +data[\s\S]*StorageClass: +of-[\s\S]*Capacity: +3Gi/,
      ...ofTemplate,
    ],
  ],
  [
    'job',
    'once',
    [
      /Parallelism: +2/,
      /Completions: +5/,
      /Active Deadline Seconds: +100s/,
      /Pods Statuses: +1 (Active|Running).* \/ 2 Succeeded \/ 3 Failed/,
      ...ofTemplate.filter((one) => !one.source.startsWith('Labels')),
    ],
  ],
  [
    'cronjob',
    'nightly',
    [/Schedule: +0 3 \* \* \*/, /Concurrency Policy: +Forbid/, /Suspend: +False/, /example\.com\/report:1/],
    { gone: true },
  ],
  [
    'service',
    'web',
    [
      /Annotations: +who: me/,
      /Selector: +app=web/,
      /Type: +NodePort/,
      /Port: +http +80\/TCP\nTargetPort: +http\/TCP\nNodePort: +http +31234\/TCP/,
      /Endpoints: +10\.42\.0\.9:8080/,
      /Session Affinity: +ClientIP/,
    ],
  ],
  ['endpoints', 'web', [/Addresses: +10\.42\.0\.9\n/, /NotReadyAddresses: +10\.42\.0\.10/, /http +8080 +TCP/]],
  [
    'endpointslice',
    'web-1',
    [/AddressType: +IPv4/, /http +8080 +TCP/, /Addresses: +10\.42\.0\.9\n +Conditions:\n +Ready: +true/],
    { gone: true },
  ],
  [
    'ingress',
    'site',
    [
      /Address: +192\.0\.2\.7/,
      /password terminates example\.com/,
      /example\.com +\n +\/ +web:http \(.*10\.42\.0\.9:8080/,
    ],
  ],
  ['ingressclass', 'own', [/Controller: +example\.com\/ingress/, /Name: +usual/, /Kind: +Settings/]],
  [
    'networkpolicy',
    'closed',
    [
      /PodSelector: +app=web/,
      /To Port: 80\/TCP/,
      /PodSelector: app=one/,
      /CIDR: 10\.0\.0\.0\/8\n +Except: 10\.1\.0\.0\/16/,
      /Policy Types: Ingress, Egress/,
    ],
  ],
  [
    'horizontalpodautoscaler',
    'web',
    [/Reference: +Deployment\/web/, /Min replicas: +2/, /Max replicas: +9/, /Deployment pods: +4 current \/ 5 desired/],
    { newer: /resource cpu on pods +\(as a percentage of request\): +93%.* \/ 80%/ },
  ],
  [
    'poddisruptionbudget',
    'web',
    [/Min available: +3/, /Selector: +app=web/, /Allowed disruptions: +1\n +Current: +4\n +Desired: +3\n +Total: +4/],
    { gone: true },
  ],
  ['resourcequota', 'made', [/pods +7 +100/, /requests\.cpu +1 +8/]],
  ['limitrange', 'bounds', [/Container +cpu +- +2 +100m +500m +-/]],
  ['persistentvolumeclaim', 'data', [/StorageClass: +of-/, /Status: +Pending/, /Used By: +one/, /Access Modes: +/]],
  [
    'persistentvolume',
    'own',
    [
      /StorageClass: +of-/,
      /Access Modes: +RWX/,
      /Capacity: +5Gi/,
      /Term 0: +zone in \[here\]/,
      /Type: +NFS .*\n +Server: +nfs\.example\.com\n +Path: +\/exports/,
    ],
  ],
  [
    'storageclass',
    'own',
    [
      /IsDefaultClass: +No/,
      /Provisioner: +example\.com\/disks/,
      /Parameters: +speed=fast/,
      /AllowVolumeExpansion: +True/,
      /MountOptions:\n +noatime/,
      /ReclaimPolicy: +Retain/,
      /VolumeBindingMode: +WaitForFirstConsumer/,
    ],
  ],
  [
    'csinode',
    'own',
    [
      /csi\.example\.com:/,
      /Node ID: +node-7/,
      /Max Volumes|Allocatables:\n +Count: +16|Count: +16/,
      /Topology Keys: +\[zone\]/,
    ],
  ],
  [
    'node',
    'own',
    [
      /Labels: +disk=ssd/,
      /Taints: +a=b:NoSchedule/,
      /Ready +True .*KubeletReady +all is well/,
      /Capacity:\n +cpu: +4\n +pods: +110/,
      /PodCIDR: +10\.42\.7\.0\/24/,
      /Non-terminated Pods: +\(0 in total\)/,
    ],
  ],
  [
    'namespace',
    'namespace',
    [/Status: +Active/, /Resource Quotas\n +Name: +made/, /Resource Limits\n[\s\S]*Container +cpu/],
  ],
  ['priorityclass', 'own', [/Value: +1234/, /GlobalDefault: +false/, /Description: +rather important/]],
  ['role', 'reader', [/pods +\[\] +\[one\] +\[get list\]/]],
  ['rolebinding', 'reader', [/Kind: +Role\n +Name: +reader/, /ServiceAccount +builder +test-/]],
  ['clusterrole', 'own', [/deployments\.apps +\[\] +\[\] +\[\*\]/, /\[\/healthz\] +\[\] +\[get\]/]],
  ['clusterrolebinding', 'own', [/Kind: +ClusterRole/, /User +jane/, /Group +builders/]],
  [
    'certificatesigningrequest',
    'own',
    [/Requesting User: +admin/, /Signer: +example\.com\/signer/, /Status: +Pending/, /Common Name: +jane/],
  ],
  // kubectl knows none of these and shows the fields.
  ['podtemplate', 'form', [/Name: +form/, /Image: +example\.com\/main:1/]],
  ['runtimeclass', 'own', [/Handler: +gvisor/, /Cpu: +250m/]],
];

/** Columns of `-o wide`, as upstream prints them (pkg/printers/internalversion/printers.go); two spaces between those whose names have one. */
const wide: Readonly<Record<string, string>> = {
  configmaps: 'NAME  DATA  AGE',
  secrets: 'NAME  TYPE  DATA  AGE',
  serviceaccounts: 'NAME  SECRETS  AGE',
  pods: 'NAME  READY  STATUS  RESTARTS  AGE  IP  NODE  NOMINATED NODE  READINESS GATES',
  podtemplates: 'NAME  CONTAINERS  IMAGES  POD LABELS',
  events: 'LAST SEEN  TYPE  REASON  OBJECT  SUBOBJECT  SOURCE  MESSAGE  FIRST SEEN  COUNT  NAME',
  replicationcontrollers: 'NAME  DESIRED  CURRENT  READY  AGE  CONTAINERS  IMAGES  SELECTOR',
  replicasets: 'NAME  DESIRED  CURRENT  READY  AGE  CONTAINERS  IMAGES  SELECTOR',
  deployments: 'NAME  READY  UP-TO-DATE  AVAILABLE  AGE  CONTAINERS  IMAGES  SELECTOR',
  daemonsets: 'NAME  DESIRED  CURRENT  READY  UP-TO-DATE  AVAILABLE  NODE SELECTOR  AGE  CONTAINERS  IMAGES  SELECTOR',
  statefulsets: 'NAME  READY  AGE  CONTAINERS  IMAGES',
  jobs: 'NAME  STATUS  COMPLETIONS  DURATION  AGE  CONTAINERS  IMAGES  SELECTOR',
  cronjobs: 'NAME  SCHEDULE  TIMEZONE  SUSPEND  ACTIVE  LAST SCHEDULE  AGE  CONTAINERS  IMAGES  SELECTOR',
  services: 'NAME  TYPE  CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE  SELECTOR',
  endpoints: 'NAME  ENDPOINTS  AGE',
  endpointslices: 'NAME  ADDRESSTYPE  PORTS  ENDPOINTS  AGE',
  ingresses: 'NAME  CLASS  HOSTS  ADDRESS  PORTS  AGE',
  ingressclasses: 'NAME  CONTROLLER  PARAMETERS  AGE',
  networkpolicies: 'NAME  POD-SELECTOR  AGE',
  horizontalpodautoscalers: 'NAME  REFERENCE  TARGETS  MINPODS  MAXPODS  REPLICAS  AGE',
  poddisruptionbudgets: 'NAME  MIN AVAILABLE  MAX UNAVAILABLE  ALLOWED DISRUPTIONS  AGE',
  resourcequotas: 'NAME  REQUEST  LIMIT  AGE',
  limitranges: 'NAME  CREATED AT',
  persistentvolumeclaims:
    'NAME  STATUS  VOLUME  CAPACITY  ACCESS MODES  STORAGECLASS  VOLUMEATTRIBUTESCLASS  AGE  VOLUMEMODE',
  persistentvolumes:
    'NAME  CAPACITY  ACCESS MODES  RECLAIM POLICY  STATUS  CLAIM  STORAGECLASS  VOLUMEATTRIBUTESCLASS  REASON  AGE  VOLUMEMODE',
  storageclasses: 'NAME  PROVISIONER  RECLAIMPOLICY  VOLUMEBINDINGMODE  ALLOWVOLUMEEXPANSION  AGE',
  csinodes: 'NAME  DRIVERS  AGE',
  nodes: 'NAME  STATUS  ROLES  AGE  VERSION  INTERNAL-IP  EXTERNAL-IP  OS-IMAGE  KERNEL-VERSION  CONTAINER-RUNTIME',
  namespaces: 'NAME  STATUS  AGE',
  priorityclasses: 'NAME  VALUE  GLOBAL-DEFAULT  AGE  PREEMPTIONPOLICY',
  roles: 'NAME  CREATED AT',
  rolebindings: 'NAME  ROLE  AGE  USERS  GROUPS  SERVICEACCOUNTS',
  clusterroles: 'NAME  CREATED AT',
  clusterrolebindings: 'NAME  ROLE  AGE  USERS  GROUPS  SERVICEACCOUNTS',
  certificatesigningrequests: 'NAME  AGE  SIGNERNAME  REQUESTOR  REQUESTEDDURATION  CONDITION',
  runtimeclasses: 'NAME  HANDLER  AGE',
  flowschemas: 'NAME  PRIORITYLEVEL  MATCHINGPRECEDENCE  DISTINGUISHERMETHOD  AGE  MISSINGPL',
  prioritylevelconfigurations: 'NAME  TYPE  NOMINALCONCURRENCYSHARES  QUEUES  HANDSIZE  QUEUELENGTHLIMIT  AGE',
  servicecidrs: 'NAME  CIDRS  AGE',
  ipaddresses: 'NAME  PARENTREF',
  controllerrevisions: 'NAME  CONTROLLER  REVISION  AGE',
  leases: 'NAME  HOLDER  AGE',
};

const rows = described.map(([resource, name, seen, more]) => ({ resource, name, seen, more }));

describe.each(clients)('kubectl %s describe', (client) => {
  let kubectl: Kubectl;
  beforeAll(() => {
    kubectl = new Kubectl(cluster, client);
  });
  afterAll(() => kubectl.close());
  test('get -o wide: the columns of each kind', async () => {
    const told: Record<string, string> = {};
    for (const resource of Object.keys(wide)) {
      const { stdout } = await kubectl.run(['get', resource, '-o', 'wide', '-n', namespace]);
      told[resource] = stdout.split('\n')[0]!.trim().replace(/ {2,}/g, '  ');
    }
    expect(told).toEqual(wide);
  });

  test.each(rows)('$resource', async ({ resource, name, seen, more }) => {
    const args = [
      'describe',
      resource,
      name === 'own' ? own : name === 'namespace' ? namespace : name,
      '-n',
      namespace,
    ];
    const old = client === '1.20';
    if (more?.gone === true && old) {
      expect(await kubectl.refused(args)).toContain('could not find the requested resource');
      return;
    }
    const told = await kubectl.must(args);
    for (const pattern of seen) expect(told).toMatch(pattern);
    if (more?.newer !== undefined && !old) expect(told).toMatch(more.newer);
  });
});
