import { apiVersionOf, type KindInfo } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import type { AdmissionRequest } from './types.ts';

/** The `request` of an AdmissionReview and of expressions (admission.k8s.io/v1 AdmissionRequest). */
export interface ReviewForm {
  readonly kind: KindInfo;
  readonly object: JsonObject | undefined;
  readonly old: JsonObject | undefined;
}

const gvk = (kind: KindInfo, name = kind.kind): JsonObject => ({
  group: kind.group,
  version: kind.version,
  kind: name,
});
const gvr = (kind: KindInfo): JsonObject => ({ group: kind.group, version: kind.version, resource: kind.plural });

/** `form`: the kind that was matched, with the objects in that version. Without uid. */
export function reviewRequest(request: AdmissionRequest, form: ReviewForm): JsonObject {
  const { kind, subresource, user } = request;
  const sub = subresource === '' ? undefined : kind.subresources[subresource];
  const bodyKind = (of: KindInfo): JsonObject =>
    sub === undefined || sub.kind === kind.kind
      ? gvk(of)
      : { group: sub.group ?? of.group, version: sub.version ?? of.version, kind: sub.kind };
  return {
    kind: bodyKind(form.kind),
    resource: gvr(form.kind),
    ...(subresource === '' ? {} : { subResource: subresource }),
    requestKind: bodyKind(kind),
    requestResource: gvr(kind),
    ...(subresource === '' ? {} : { requestSubResource: subresource }),
    ...(request.name === '' ? {} : { name: request.name }),
    ...(request.namespace === '' ? {} : { namespace: request.namespace }),
    operation: request.operation,
    userInfo: {
      username: user.name,
      ...(user.uid === undefined ? {} : { uid: user.uid }),
      groups: [...user.groups],
      ...(user.extra === undefined
        ? {}
        : { extra: Object.fromEntries(Object.entries(user.extra).map(([key, list]) => [key, [...list]])) }),
    },
    object: form.object ?? null,
    oldObject: form.old ?? null,
    dryRun: request.dryRun,
    options: request.options ?? null,
  };
}

/** The object with its type, as a webhook expects it. */
export function typed(kind: KindInfo, object: JsonObject | undefined): JsonObject | undefined {
  if (object === undefined) return undefined;
  return { ...object, apiVersion: object.apiVersion ?? apiVersionOf(kind), kind: object.kind ?? kind.kind };
}
