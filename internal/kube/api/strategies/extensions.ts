import type { JsonObject } from '../../machinery/json.ts';
import { formatTime } from '../../machinery/time.ts';
import {
  admissionPolicyDefaults,
  apiServiceDefaults,
  certificateRequestDefaults,
  customResourceDefinitionDefaults,
  flowSchemaDefaults,
  ingressClassDefaults,
  ingressDefaults,
  mutatingWebhookDefaults,
  networkPolicyDefaults,
  policyBindingDefaults,
  priorityLevelDefaults,
  resourceClaimDefaults,
  resourceClaimTemplateDefaults,
  validatingPolicyDefaults,
  validatingWebhookDefaults,
} from '../defaults/extensions.ts';
import { child, objects } from '../defaults/helpers.ts';
import type { Strategy } from '../kinds.ts';
import { holdForInstances } from './custom-definition.ts';
import {
  mutatingBindingErrors,
  mutatingPolicyErrors,
  validatingBindingErrors,
  validatingPolicyErrors,
  validatingPolicyStatusErrors,
} from '../validation/admission-policies.ts';
import {
  certificateApprovalErrors,
  certificateRequestErrors,
  certificateRequestUpdateErrors,
  certificateStatusErrors,
} from '../validation/certificates.ts';
import {
  apiServiceErrors,
  apiServiceStatusErrors,
  runtimeClassErrors,
  runtimeClassUpdateErrors,
  volumeAttributesClassErrors,
  volumeAttributesClassUpdateErrors,
} from '../validation/cluster.ts';
import {
  customResourceDefinitionErrors,
  customResourceDefinitionStatusErrors,
  customResourceDefinitionUpdateErrors,
} from '../validation/custom-resource-definition.ts';
import {
  deviceClassErrors,
  resourceClaimErrors,
  resourceClaimStatusErrors,
  resourceClaimTemplateErrors,
  resourceSliceErrors,
  resourceSliceUpdateErrors,
  specImmutableErrors,
} from '../validation/devices.ts';
import { flowConditionErrors, flowSchemaErrors, priorityLevelErrors } from '../validation/flow-control.ts';
import {
  ingressClassErrors,
  ingressClassUpdateErrors,
  ingressErrors,
  ingressStatusErrors,
  ingressUpdateErrors,
  ipAddressErrors,
  ipAddressUpdateErrors,
  networkPolicyErrors,
  serviceCidrErrors,
  serviceCidrUpdateErrors,
} from '../validation/networking.ts';
import { mutatingWebhookErrors, validatingWebhookErrors } from '../validation/webhooks.ts';
import { ingressWarnings, runtimeClassWarnings } from '../warnings/objects.ts';

/** How objects of networking, admission, extension, aggregation, flow control, certificates, runtime and devices come to be and change. */

export const ingressStrategy: Strategy = {
  defaults: ingressDefaults,
  generation: true,
  prepareForCreate(ingress) {
    ingress.status = { loadBalancer: {} };
  },
  validate: ingressErrors,
  validateUpdate: ingressUpdateErrors,
  warnings: ingressWarnings,
  subresources: { status: { validateUpdate: ingressStatusErrors } },
};
export const ingressClassStrategy: Strategy = {
  defaults: ingressClassDefaults,
  generation: true,
  validate: ingressClassErrors,
  validateUpdate: ingressClassUpdateErrors,
};
export const networkPolicyStrategy: Strategy = {
  defaults: networkPolicyDefaults,
  generation: true,
  validate: networkPolicyErrors,
};
export const ipAddressStrategy: Strategy = { validate: ipAddressErrors, validateUpdate: ipAddressUpdateErrors };
export const serviceCidrStrategy: Strategy = { validate: serviceCidrErrors, validateUpdate: serviceCidrUpdateErrors };

export const mutatingWebhookStrategy: Strategy = {
  defaults: mutatingWebhookDefaults,
  generation: true,
  validate: mutatingWebhookErrors,
};
export const validatingWebhookStrategy: Strategy = {
  defaults: validatingWebhookDefaults,
  generation: true,
  validate: validatingWebhookErrors,
};
export const validatingPolicyStrategy: Strategy = {
  defaults: validatingPolicyDefaults,
  generation: true,
  validate: validatingPolicyErrors,
  subresources: { status: { validateUpdate: validatingPolicyStatusErrors } },
};
export const mutatingPolicyStrategy: Strategy = {
  defaults: admissionPolicyDefaults,
  generation: true,
  validate: mutatingPolicyErrors,
};
export const validatingBindingStrategy: Strategy = {
  defaults: policyBindingDefaults,
  generation: true,
  validate: validatingBindingErrors,
};
export const mutatingBindingStrategy: Strategy = {
  defaults: policyBindingDefaults,
  generation: true,
  validate: mutatingBindingErrors,
};

/** A version that objects may be stored in is noted until somebody has migrated them. */
function noteStoredVersion(definition: JsonObject): void {
  const versions = objects(child(definition, 'spec').versions);
  const storage = versions.find((version) => version.storage === true)?.name;
  if (typeof storage !== 'string') return;
  const status = child(definition, 'status');
  const stored = Array.isArray(status.storedVersions) ? status.storedVersions : [];
  if (!stored.includes(storage)) status.storedVersions = [...stored, storage];
}

export const customResourceDefinitionStrategy: Strategy = {
  defaults: customResourceDefinitionDefaults,
  generation: true,
  prepareForCreate(definition) {
    definition.status = {};
    noteStoredVersion(definition);
  },
  prepareForUpdate(definition) {
    noteStoredVersion(definition);
  },
  prepareForDelete: holdForInstances,
  validate: customResourceDefinitionErrors,
  validateUpdate: customResourceDefinitionUpdateErrors,
  subresources: { status: { validateUpdate: customResourceDefinitionStatusErrors } },
};

export const apiServiceStrategy: Strategy = {
  defaults: apiServiceDefaults,
  validate: apiServiceErrors,
  subresources: { status: { validateUpdate: apiServiceStatusErrors } },
};

/** Times of conditions that the writer left out: of the change now, of the transition when the status is another. */
function stampConditions(request: JsonObject, old: JsonObject, now: string): void {
  const before = objects(child(old, 'status').conditions);
  for (const condition of objects(child(request, 'status').conditions)) {
    condition.lastUpdateTime ??= now;
    const same = before.find((other) => other.type === condition.type && other.status === condition.status);
    condition.lastTransitionTime ??= same?.lastTransitionTime ?? now;
  }
}

export const certificateRequestStrategy: Strategy = {
  defaults: certificateRequestDefaults,
  prepareForCreate(request, { user }) {
    // Who asks is told by the server, not by the request.
    const spec = child(request, 'spec');
    for (const field of ['username', 'uid', 'groups', 'extra']) delete spec[field];
    if (user !== undefined) {
      spec.username = user.name;
      if (user.uid !== undefined) spec.uid = user.uid;
      if (user.groups.length > 0) spec.groups = [...user.groups];
      if (user.extra !== undefined)
        spec.extra = Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]]));
    }
    request.status = {};
  },
  validate: certificateRequestErrors,
  prepareForUpdate(request, old) {
    request.spec = old.spec ?? {};
  },
  validateUpdate: certificateRequestUpdateErrors,
  subresources: {
    status: {
      prepareForUpdate: (request, old, context) => stampConditions(request, old, formatTime(context.now())),
      validateUpdate: certificateStatusErrors,
    },
    approval: {
      prepareForUpdate(request, old, context) {
        request.spec = old.spec ?? {};
        const { conditions } = child(request, 'status');
        request.status = { ...child(old, 'status'), ...(conditions === undefined ? {} : { conditions }) };
        stampConditions(request, old, formatTime(context.now()));
      },
      validateUpdate: certificateApprovalErrors,
    },
  },
};

export const flowSchemaStrategy: Strategy = {
  defaults: flowSchemaDefaults,
  generation: true,
  validate: flowSchemaErrors,
  subresources: { status: { validateUpdate: flowConditionErrors } },
};
export const priorityLevelStrategy: Strategy = {
  defaults: priorityLevelDefaults,
  generation: true,
  validate: priorityLevelErrors,
  subresources: { status: { validateUpdate: flowConditionErrors } },
};
export const runtimeClassStrategy: Strategy = {
  validate: runtimeClassErrors,
  validateUpdate: runtimeClassUpdateErrors,
  warnings: runtimeClassWarnings,
};
export const volumeAttributesClassStrategy: Strategy = {
  validate: volumeAttributesClassErrors,
  validateUpdate: volumeAttributesClassUpdateErrors,
};

export const deviceClassStrategy: Strategy = { generation: true, validate: deviceClassErrors };
export const resourceClaimStrategy: Strategy = {
  defaults: resourceClaimDefaults,
  prepareForCreate(claim) {
    claim.status = {};
  },
  validate: resourceClaimErrors,
  validateUpdate: specImmutableErrors,
  subresources: { status: { validateUpdate: resourceClaimStatusErrors } },
};
export const resourceClaimTemplateStrategy: Strategy = {
  defaults: resourceClaimTemplateDefaults,
  validate: resourceClaimTemplateErrors,
  validateUpdate: specImmutableErrors,
};
export const resourceSliceStrategy: Strategy = {
  generation: true,
  validate: resourceSliceErrors,
  validateUpdate: resourceSliceUpdateErrors,
};
