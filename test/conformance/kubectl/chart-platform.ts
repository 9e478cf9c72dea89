/**
 * The part of a chart that is about the cluster: what surrounds an application in charts of operators and of monitoring, as templates leave it. Documents
 * that are empty or only comments, hooks, lists, scripts in several block styles, configurations of webhooks, roles for the whole cluster, a custom
 * resource that selects services.
 */
import type { Values } from './chart.ts';

/** A kind such as monitoring has: lists without keys, fields that another definition's schema copies, durations that must fit a pattern. */
export const watcherDefinition = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: watchers.shop.example.com
  annotations: {helm.sh/resource-policy: keep}
spec:
  group: shop.example.com
  names: {categories: [shop-monitoring], kind: Watcher, listKind: WatcherList, plural: watchers, shortNames: [wt], singular: watcher}
  scope: Namespaced
  preserveUnknownFields: false
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Interval, type: string, jsonPath: ".spec.endpoints[0].interval"}
    schema:
      openAPIV3Schema:
        description: Says which services are asked for their measurements.
        type: object
        required: [spec]
        properties:
          apiVersion: {type: string}
          kind: {type: string}
          metadata: {type: object}
          spec:
            type: object
            required: [endpoints, selector]
            properties:
              endpoints:
                type: array
                items:
                  type: object
                  properties:
                    port: {type: string}
                    targetPort: {anyOf: [{type: integer}, {type: string}], x-kubernetes-int-or-string: true}
                    interval: {type: string, pattern: "^(0|(([0-9]+)h)?(([0-9]+)m)?(([0-9]+)s)?)$"}
                    scheme: {type: string, enum: [http, https]}
                    params: {type: object, additionalProperties: {type: array, items: {type: string}}}
                    relabelings:
                      type: array
                      items:
                        type: object
                        properties:
                          action: {type: string, default: replace}
                          sourceLabels: {type: array, items: {type: string}}
                          targetLabel: {type: string}
              namespaceSelector:
                type: object
                properties: {any: {type: boolean}, matchNames: {type: array, items: {type: string}}}
              selector:
                type: object
                x-kubernetes-map-type: atomic
                properties:
                  matchLabels: {type: object, additionalProperties: {type: string}}
                  matchExpressions:
                    type: array
                    x-kubernetes-list-type: atomic
                    items:
                      type: object
                      required: [key, operator]
                      properties: {key: {type: string}, operator: {type: string}, values: {type: array, items: {type: string}}}
`;

/** The names of what `platform` gives, as kubectl writes them. */
export const platformNames = [
  'clusterrole.rbac.authorization.k8s.io/shop-operator',
  'clusterrole.rbac.authorization.k8s.io/shop-view',
  'clusterrolebinding.rbac.authorization.k8s.io/shop-operator',
  'configmap/shop-scripts',
  'configmap/shop-dashboards',
  'service/shop-webhook',
  'service/shop-metrics',
  'daemonset.apps/shop-agent',
  'job.batch/shop-admission-create',
  'mutatingwebhookconfiguration.admissionregistration.k8s.io/shop-webhook',
  'validatingwebhookconfiguration.admissionregistration.k8s.io/shop-webhook',
  'priorityclass.scheduling.k8s.io/shop-critical',
  'watcher.shop.example.com/shop',
];

const labels = (component: string, { version }: Values, indent = '    '): string =>
  [
    `helm.sh/chart: shop-${version}`,
    'app.kubernetes.io/name: shop',
    'app.kubernetes.io/instance: shop',
    `app.kubernetes.io/component: ${component}`,
    'app.kubernetes.io/part-of: shop',
    'app.kubernetes.io/managed-by: Helm',
  ]
    .map((line) => `\n${indent}${line}`)
    .join('');

/** Rules of webhooks for a kind that nobody makes: there is no webhook here that could be asked. */
const never = `
    rules:
      - apiGroups: [shop.example.com]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [baskets]`;

export const platform = (namespace: string, values: Values): string => `---
# Source: shop/templates/NOTES.yaml
# Nothing is installed when networkPolicies.enabled is false.
---

---
# Source: shop/templates/clusterrole.yaml
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  labels:${labels('operator', values)}
  name: shop-operator
rules:
  - apiGroups:
      - ""
    resources:
      - configmaps
      - endpoints
      - secrets
    verbs:
      - list
      - watch
  - {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [shop-leader], verbs: [get, update]}
  - nonResourceURLs: [/metrics]
    verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: shop-view
  labels:${labels('operator', values)}
    rbac.authorization.k8s.io/aggregate-to-view: "true"
rules:
  - apiGroups: ["shop.example.com"]
    resources: ["shelves", "watchers"]
    verbs: ["get", "list", "watch"]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  labels:${labels('operator', values)}
  name: shop-operator
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: shop-operator
subjects:
  - kind: ServiceAccount
    name: "shop-web"
    namespace: "${namespace}"
---
# Source: shop/templates/configmaps.yaml
apiVersion: v1
kind: List
metadata: {}
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata:
      name: shop-scripts
      labels:${labels('scripts', values, '        ')}
    data:
      start.sh: |
        #!/bin/sh
        set -eu

        # A tab:	and quotes: "x" 'y' \`z\`
        exec shop --config "$CONFIG"
      stop.sh: |-
        #!/bin/sh
        kill "$1"
      motto: >-
        One line
        in the end.
      escaped: "line one\\nline two\\t\\u00e9 ünï 日本"
      number: "0123"
      "yes": "true"
  - apiVersion: v1
    kind: ConfigMap
    metadata:
      name: shop-dashboards
      labels:${labels('dashboards', values, '        ')}
        grafana_dashboard: "1"
    data:
      shop.json: |
        {"panels": [{"title": "Sales {{ $labels.shop }}", "targets": [{"expr": "sum(rate(sales_total[5m])) by (shop)"}]}]}
---
apiVersion: v1
kind: Service
metadata:
  name: shop-webhook
  labels:${labels('webhook', values)}
spec:
  type: ClusterIP
  ports:
    - name: https
      port: 443
      targetPort: webhook
      appProtocol: https
  selector: {app.kubernetes.io/component: webhook}
---
apiVersion: v1
kind: Service
metadata:
  name: shop-metrics
  annotations:
    prometheus.io/scrape: "true"
    prometheus.io/port: "9090"
  labels:${labels('metrics', values)}
spec:
  type: ClusterIP
  clusterIP: None
  ports: [{name: metrics, port: 9090, protocol: TCP, targetPort: metrics}]
  selector: {app.kubernetes.io/name: web}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: shop-agent
  labels:${labels('agent', values)}
spec:
  selector:
    matchLabels: {app.kubernetes.io/component: agent}
  revisionHistoryLimit: 10
  minReadySeconds: 0
  updateStrategy:
    rollingUpdate:
      maxUnavailable: 1
    type: RollingUpdate
  template:
    metadata:
      labels: {app.kubernetes.io/component: agent}
    spec:
      hostNetwork: true
      dnsPolicy: ClusterFirstWithHostNet
      priorityClassName: shop-critical
      tolerations: [{effect: NoSchedule, operator: Exists}]
      containers:
        - name: agent
          image: "registry.example.com/shop/agent:${values.version}@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
          args:
            - --path.procfs=/host/proc
            - --ignored=^(autofs|proc)$
          env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
          ports: [{name: metrics, hostPort: 9100, containerPort: 9100}]
          lifecycle: {preStop: {exec: {command: [/wait-shutdown]}}}
          securityContext: {runAsUser: 65534, readOnlyRootFilesystem: true, seccompProfile: {type: RuntimeDefault}}
          volumeMounts: [{mountPath: /host/proc, mountPropagation: HostToContainer, name: proc, readOnly: true}]
      volumes:
        - hostPath: {path: /proc}
          name: proc
---
# Source: shop/templates/job-createSecret.yaml
apiVersion: batch/v1
kind: Job
metadata:
  name: shop-admission-create
  annotations:
    "helm.sh/hook": pre-install,pre-upgrade
    "helm.sh/hook-delete-policy": before-hook-creation,hook-succeeded
    "helm.sh/hook-weight": "-5"
  labels:${labels('admission-webhook', values)}
spec:
  ttlSecondsAfterFinished: 0
  template:
    metadata:
      name: shop-admission-create
      labels:${labels('admission-webhook', { ...values, version: '0' }, '        ')}
    spec:
      restartPolicy: OnFailure
      containers:
        - name: create
          image: registry.example.com/shop/certgen:v1
          args: [create, "--host=shop-webhook,shop-webhook.$(POD_NAMESPACE).svc"]
          env: [{name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}]
      securityContext: {runAsNonRoot: true, runAsUser: 2000}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  name: shop-webhook
  labels:${labels('webhook', values)}
  annotations:
    cert-manager.io/inject-ca-from-secret: "shop/shop-webhook-ca"
webhooks:
  - name: webhook.shop.example.com${never}
    admissionReviewVersions: ["v1"]
    matchPolicy: Equivalent
    timeoutSeconds: 30
    failurePolicy: Fail
    sideEffects: None
    clientConfig:
      service: {name: shop-webhook, namespace: ${namespace}, path: /mutate}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: shop-webhook
  labels:${labels('webhook', values)}
webhooks:
  - name: webhook.shop.example.com
    namespaceSelector:
      matchExpressions:
        - key: shop.example.com/disable-validation
          operator: NotIn
          values: ["true"]${never}
    admissionReviewVersions: [v1, v1beta1]
    failurePolicy: Ignore
    sideEffects: None
    clientConfig:
      service: {name: shop-webhook, namespace: ${namespace}, path: /validate}
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata:
  name: shop-critical
  labels:${labels('agent', values)}
value: 1000000
globalDefault: false
description: "For what the shop cannot do without."
---
# Source: shop/templates/watcher.yaml
apiVersion: shop.example.com/v1
kind: Watcher
metadata:
  name: shop
  labels:${labels('metrics', values)}
    release: monitoring
spec:
  endpoints:
    - interval: 30s
      port: metrics
      scheme: http
      params: {"match[]": ['{__name__=~"shop.*"}']}
      relabelings:
        - sourceLabels: [__meta_kubernetes_pod_node_name]
          targetLabel: instance
        - {action: labeldrop, sourceLabels: [pod]}
    - {interval: 1m30s, targetPort: 8080}
  namespaceSelector:
    matchNames: [${namespace}]
  selector:
    matchLabels: {app.kubernetes.io/component: metrics}
---
`;
