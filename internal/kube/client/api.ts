/**
 * The typed client that controllers, scheduler, kubelet and operator use. One implementation over any `fetch`-like transport: in process
 * (the API server's own handler, with the caller's identity and authorization) or HTTPS.
 */

export interface ObjectMeta {
  name: string;
  namespace?: string;
  generateName?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: unknown[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/** Any API object. Consumers narrow it with the types of `internal/kube/api/types.ts`. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

export interface KubeList<T extends KubeObject> {
  apiVersion: string;
  kind: string;
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
  items: T[];
}

/** Names a resource; `group` is '' for core. */
export interface ResourceRef {
  group: string;
  version: string;
  /** Plural, as in the path. */
  resource: string;
}

export interface ListOptions {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  limit?: number;
  continue?: string;
  resourceVersion?: string;
}

export type WatchType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK';

export interface WatchOptions extends ListOptions {
  signal?: AbortSignal;
  allowBookmarks?: boolean;
}

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply';

export interface WriteOptions {
  fieldManager?: string;
  force?: boolean;
  dryRun?: boolean;
}

export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
  preconditions?: { uid?: string; resourceVersion?: string };
}

/** Every failed call throws a `StatusError` (`internal/kube/machinery/status.ts`) with the server's Status: code, reason, message. */
export interface KubeClient {
  get<T extends KubeObject>(resource: ResourceRef, name: string, namespace?: string): Promise<T>;
  list<T extends KubeObject>(resource: ResourceRef, options?: ListOptions): Promise<KubeList<T>>;
  /** Yields until `signal` aborts or the server ends the stream; an ERROR event (410 Gone) throws StatusError. */
  watch<T extends KubeObject>(
    resource: ResourceRef,
    options: WatchOptions,
  ): AsyncIterable<{ type: WatchType; object: T }>;
  create<T extends KubeObject>(
    resource: ResourceRef,
    object: T,
    options?: WriteOptions & { subresource?: string },
  ): Promise<T>;
  update<T extends KubeObject>(
    resource: ResourceRef,
    object: T,
    options?: WriteOptions & { subresource?: string },
  ): Promise<T>;
  patch<T extends KubeObject>(
    resource: ResourceRef,
    name: string,
    namespace: string | undefined,
    type: PatchType,
    patch: unknown,
    options?: WriteOptions & { subresource?: string },
  ): Promise<T>;
  delete(resource: ResourceRef, name: string, namespace?: string, options?: DeleteOptions): Promise<void>;
  /** A raw request for what has no verb here (TokenReview, SubjectAccessReview, /version). */
  raw(method: string, path: string, body?: unknown): Promise<unknown>;
}
