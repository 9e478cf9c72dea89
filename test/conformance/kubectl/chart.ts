/**
 * What a package manager of charts sends: the objects of an application as templates leave them, with keys that have no value, empty maps and lists,
 * quoted and bare numbers, a definition with the empty status that generators write, and labels that tell of the release.
 */

export interface Values {
  readonly version: string;
  /** Left out when an autoscaler decides. */
  readonly replicas?: number;
  readonly metricsPort?: boolean;
  readonly debug?: boolean;
}

const labels = (name: string, { version }: Values): string => `
    helm.sh/chart: shop-${version}
    app.kubernetes.io/name: ${name}
    app.kubernetes.io/instance: shop
    app.kubernetes.io/version: "${version}"
    app.kubernetes.io/managed-by: Helm`;

const selector = (name: string): string => `
      app.kubernetes.io/name: ${name}
      app.kubernetes.io/instance: shop`;

/** The definition, which is installed before everything else. */
export const definition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  annotations:
    controller-gen.kubebuilder.io/version: v0.16.5
  creationTimestamp: null
  name: shelves.shop.example.com
spec:
  group: shop.example.com
  names:
    kind: Shelf
    listKind: ShelfList
    plural: shelves
    singular: shelf
  scope: Namespaced
  versions:
  - name: v1alpha1
    served: true
    storage: true
    subresources:
      status: {}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            required: [width]
            properties:
              width: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}
              boards:
                type: array
                items: {type: object, properties: {name: {type: string}, load: {type: integer, default: 5}}, required: [name]}
                x-kubernetes-list-map-keys: [name]
                x-kubernetes-list-type: map
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
status:
  acceptedNames:
    kind: ""
    plural: ""
  conditions: []
  storedVersions: []
`;

/** The names of what `render` gives, as kubectl writes them. */
export const rendered = [
  'serviceaccount/shop-web',
  'configmap/shop-web',
  'secret/shop-web',
  'role.rbac.authorization.k8s.io/shop-web',
  'rolebinding.rbac.authorization.k8s.io/shop-web',
  'service/shop-web',
  'service/shop-db-headless',
  'deployment.apps/shop-web',
  'statefulset.apps/shop-db',
  'cronjob.batch/shop-report',
  'poddisruptionbudget.policy/shop-db',
  'networkpolicy.networking.k8s.io/shop-db',
  'ingress.networking.k8s.io/shop-web',
  'horizontalpodautoscaler.autoscaling/shop-web',
  'shelf.shop.example.com/shop',
];

export const render = (values: Values): string => `---
# Source: shop/templates/serviceaccount.yaml
apiVersion: v1
kind: ServiceAccount
metadata:
  name: shop-web
  labels:${labels('web', values)}
  annotations:
automountServiceAccountToken: true
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: shop-web
  labels:${labels('web', values)}
data:
  shop.conf: |
    listen = 8080
    currency = "EUR"
  empty: ""
binaryData:
---
apiVersion: v1
kind: Secret
metadata:
  name: shop-web
  labels:${labels('web', values)}
type: Opaque
data:
  password: "aHVudGVyMg=="
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: shop-web
  labels:${labels('web', values)}
rules:
  - apiGroups: [""]
    resources: [configmaps]
    verbs: [get, list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: shop-web
  labels:${labels('web', values)}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: shop-web
subjects:
  - kind: ServiceAccount
    name: shop-web
---
apiVersion: v1
kind: Service
metadata:
  name: shop-web
  labels:${labels('web', values)}
spec:
  type: ClusterIP
  ports:
    - port: 80
      targetPort: http
      protocol: TCP
      name: http${
        values.metricsPort
          ? `
    - {port: 9090, targetPort: 9090, name: metrics}`
          : ''
      }
  selector:${selector('web')}
---
apiVersion: v1
kind: Service
metadata:
  name: shop-db-headless
  labels:${labels('db', values)}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  ports: [{name: tcp-db, port: 5432, targetPort: tcp-db}]
  selector:${selector('db')}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop-web
  labels:${labels('web', values)}
spec:${
  values.replicas === undefined
    ? ''
    : `
  replicas: ${values.replicas}`
}
  selector:
    matchLabels:${selector('web').replaceAll('\n', '\n  ')}
  template:
    metadata:
      annotations:
        checksum/config: 5d41402abc4b2a76b9719d911017c592
      labels:${labels('web', values).replaceAll('\n', '\n    ')}
    spec:
      imagePullSecrets:
      serviceAccountName: shop-web
      securityContext: {}
      initContainers:
      containers:
        - name: web
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          image: "registry.example.com/shop/web:${values.version}"
          imagePullPolicy: IfNotPresent
          env:
            - name: WORKERS
              value: "4"
            - name: POD_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}${
                values.debug
                  ? `
            - {name: DEBUG, value: "true"}`
                  : ''
              }
          ports:
            - name: http
              containerPort: 8080
              protocol: TCP
          livenessProbe:
            httpGet: {path: /, port: http}
          resources:
            limits: {cpu: 0.5, memory: 256Mi}
            requests: {cpu: 100m, memory: "134217728"}
          volumeMounts:
            - {name: config, mountPath: /etc/shop, readOnly: true}
      volumes:
        - {name: config, configMap: {name: shop-web, defaultMode: 0420}}
      nodeSelector: {}
      affinity: {}
      tolerations: []
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: shop-db
  labels:${labels('db', values)}
spec:
  serviceName: shop-db-headless
  replicas: 1
  updateStrategy: {rollingUpdate: {}, type: RollingUpdate}
  selector:
    matchLabels:${selector('db').replaceAll('\n', '\n  ')}
  template:
    metadata:
      labels:${labels('db', values).replaceAll('\n', '\n    ')}
    spec:
      affinity:
        podAffinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - podAffinityTerm:
                labelSelector:
                  matchLabels: {app.kubernetes.io/name: db}
                topologyKey: kubernetes.io/hostname
              weight: 1
        nodeAffinity:
      containers:
        - name: db
          image: registry.example.com/shop/db:16
          ports: [{name: tcp-db, containerPort: 5432}]
          readinessProbe: {exec: {command: [pg_isready]}, periodSeconds: 10}
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: "8Gi"}}}
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: shop-report
  labels:${labels('report', values)}
spec:
  schedule: "0 3 * * *"
  suspend: false
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers: [{name: report, image: "registry.example.com/shop/report:${values.version}"}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: shop-db
  labels:${labels('db', values)}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:${selector('db').replaceAll('\n', '\n  ')}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: shop-db
  labels:${labels('db', values)}
spec:
  podSelector:
    matchLabels:${selector('db').replaceAll('\n', '\n  ')}
  policyTypes: [Ingress, Egress]
  egress: [{}]
  ingress: [{ports: [{port: 5432}]}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop-web
  labels:${labels('web', values)}
  annotations: {}
spec:
  ingressClassName: nginx
  rules:
    - host: "shop.example.com"
      http:
        paths:
          - {path: /, pathType: ImplementationSpecific, backend: {service: {name: shop-web, port: {number: 80}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: shop-web
  labels:${labels('web', values)}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop-web}
  minReplicas: 1
  maxReplicas: 9
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: 80}}
---
apiVersion: shop.example.com/v1alpha1
kind: Shelf
metadata:
  name: shop
  labels:${labels('shelf', values)}
spec:
  width: 80
  boards:
    - name: top
    - name: bottom
      load: 50
`;
