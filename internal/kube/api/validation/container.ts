import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  configMapKeyErrors,
  dns1123LabelErrors,
  duplicate,
  envVarNameErrors,
  forbiddenField,
  invalidValue,
  notFoundField,
  notSupported,
  portNameErrors,
  portNumberErrors,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { containerResourceErrors, idErrors, nonNegative, oneOf, part, profileErrors, texts } from './common.ts';

/** Rules of containers, init containers and ephemeral containers (validateContainers in pkg/apis/core/validation). */
const pullPolicies = ['Always', 'IfNotPresent', 'Never'];
const protocols = ['SCTP', 'TCP', 'UDP'];
const resizableResources = ['cpu', 'memory'];
const resizePolicies = ['NotRequired', 'RestartContainer'];
const fieldPaths = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];
const resourceFields = /^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$/;

/** All containers of a pod's spec. `volumes` are the names of its volumes. */
export function containerErrors(spec: JsonObject, path: string, volumes: ReadonlySet<string>): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const containers = objects(spec.containers);
  if (containers.length === 0) errors.push(required(`${path}.containers`));
  const hostPorts = new Set<string>();
  for (const list of ['initContainers', 'containers', 'ephemeralContainers'])
    for (const [index, container] of objects(spec[list]).entries()) {
      const at = `${path}.${list}[${index}]`;
      errors.push(...oneContainer(container, at, volumes, list));
      if (list !== 'ephemeralContainers')
        errors.push(...resizePolicyErrors(container, `${at}.resizePolicy`, spec.restartPolicy));
      const name = String(container.name ?? '');
      if (names.has(name)) errors.push(duplicate(`${at}.name`, name));
      else if (name !== '') names.add(name);
      if (list === 'ephemeralContainers' && container.targetContainerName) {
        const target = String(container.targetContainerName);
        if (
          !containers.some((other) => other.name === target) &&
          !objects(spec.initContainers).some((other) => other.name === target)
        )
          errors.push(notFoundField(`${at}.targetContainerName`, target));
      }
      if (list === 'containers') errors.push(...hostPortErrors(container, at, hostPorts, spec.hostNetwork === true));
    }
  return errors;
}

function hostPortErrors(container: JsonObject, path: string, taken: Set<string>, hostNetwork: boolean): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, port] of objects(container.ports).entries()) {
    const at = `${path}.ports[${index}]`;
    const hostPort = Number(port.hostPort ?? 0);
    if (hostNetwork && hostPort !== Number(port.containerPort))
      errors.push(
        invalidValue(
          `${at}.containerPort`,
          port.containerPort ?? 0,
          'must match `hostPort` when `hostNetwork` is true',
        ),
      );
    if (hostPort === 0) continue;
    const key = `${String(port.protocol)}/${String(port.hostIP ?? '')}/${hostPort}`;
    if (taken.has(key)) errors.push(duplicate(`${at}.hostPort`, key));
    taken.add(key);
  }
  return errors;
}

function oneContainer(container: JsonObject, path: string, volumes: ReadonlySet<string>, list: string): FieldError[] {
  const errors: FieldError[] = [];
  const name = String(container.name ?? '');
  if (name === '') errors.push(required(`${path}.name`));
  else for (const why of dns1123LabelErrors(name)) errors.push(invalidValue(`${path}.name`, name, why));
  const image = String(container.image ?? '');
  if (image === '') errors.push(required(`${path}.image`));
  else if (image.trim() !== image)
    errors.push(invalidValue(`${path}.image`, image, 'must not have leading or trailing whitespace'));
  if (!pullPolicies.includes(String(container.imagePullPolicy)))
    errors.push(notSupported(`${path}.imagePullPolicy`, container.imagePullPolicy ?? '', pullPolicies));
  if (container.terminationMessagePolicy !== 'File' && container.terminationMessagePolicy !== 'FallbackToLogsOnError')
    errors.push(
      notSupported(`${path}.terminationMessagePolicy`, container.terminationMessagePolicy ?? '', [
        'FallbackToLogsOnError',
        'File',
      ]),
    );
  errors.push(...portErrors(container.ports, `${path}.ports`));
  errors.push(...envErrors(container.env, `${path}.env`));
  for (const [index, source] of objects(container.envFrom).entries()) {
    const at = `${path}.envFrom[${index}]`;
    const given = ['configMapRef', 'secretRef'].filter((kind) => isObject(source[kind]));
    if (given.length === 0) errors.push(invalidValue(at, '', 'must specify one of: `configMapRef` or `secretRef`'));
    if (given.length > 1) errors.push(invalidValue(at, '', 'may not have more than one field specified at a time'));
    for (const kind of given) if (!(source[kind] as JsonObject).name) errors.push(required(`${at}.${kind}.name`));
  }
  errors.push(...mountErrors(container, path, volumes));
  if (isObject(container.resources)) errors.push(...containerResourceErrors(container.resources, `${path}.resources`));
  const sidecar = list === 'initContainers' && container.restartPolicy === 'Always';
  if (list === 'ephemeralContainers') {
    for (const field of ['ports', 'lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe', 'resizePolicy'])
      if (container[field] !== undefined)
        errors.push(forbiddenField(`${path}.${field}`, 'cannot be set for an Ephemeral Container'));
    if (isObject(container.resources) && Object.keys(container.resources).length > 0)
      errors.push(forbiddenField(`${path}.resources`, 'cannot be set for an Ephemeral Container'));
    return errors;
  }
  if (list === 'initContainers' && !sidecar && container.lifecycle !== undefined)
    errors.push(forbiddenField(`${path}.lifecycle`, 'may not be set for init containers without restartPolicy=Always'));
  if (container.restartPolicy !== undefined)
    errors.push(...oneOf(container.restartPolicy, ['Always', 'Never', 'OnFailure'], `${path}.restartPolicy`));
  if (objects(container.restartPolicyRules).length > 0 && container.restartPolicy === undefined)
    errors.push(required(`${path}.restartPolicy`, 'must specify restartPolicy when restart rules are used'));
  for (const probe of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const value = container[probe];
    if (!isObject(value)) continue;
    if (list === 'initContainers' && !sidecar) {
      errors.push(
        forbiddenField(`${path}.${probe}`, 'may not be set for init containers without restartPolicy=Always'),
      );
      continue;
    }
    errors.push(...probeErrors(value, `${path}.${probe}`));
    if (probe === 'readinessProbe' && value.terminationGracePeriodSeconds !== undefined)
      errors.push(
        invalidValue(
          `${path}.${probe}.terminationGracePeriodSeconds`,
          value.terminationGracePeriodSeconds,
          'must not be set for readinessProbes',
        ),
      );
    if (probe !== 'readinessProbe' && value.successThreshold !== 1)
      errors.push(invalidValue(`${path}.${probe}.successThreshold`, value.successThreshold ?? 0, 'must be 1'));
  }
  if (isObject(container.lifecycle))
    for (const hook of ['postStart', 'preStop']) {
      const value = container.lifecycle[hook];
      if (isObject(value))
        errors.push(...handlerErrors(value, `${path}.lifecycle.${hook}`, ['exec', 'httpGet', 'tcpSocket', 'sleep']));
    }
  if (isObject(container.securityContext))
    errors.push(...securityErrors(container.securityContext, `${path}.securityContext`));
  return errors;
}

function securityErrors(context: JsonObject, path: string): FieldError[] {
  const errors = [
    ...idErrors(context.runAsUser, `${path}.runAsUser`),
    ...idErrors(context.runAsGroup, `${path}.runAsGroup`),
    ...profileErrors(context.seccompProfile, `${path}.seccompProfile`, 'seccomp'),
    ...profileErrors(context.appArmorProfile, `${path}.appArmorProfile`, 'AppArmor'),
    ...oneOf(context.procMount, ['Default', 'Unmasked'], `${path}.procMount`, true),
  ];
  if (context.allowPrivilegeEscalation === false) {
    const added = texts(part(context, 'capabilities').add);
    if (context.privileged === true)
      errors.push(
        invalidValue(path, context, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true'),
      );
    if (added.includes('CAP_SYS_ADMIN'))
      errors.push(
        invalidValue(
          path,
          context,
          'cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN',
        ),
      );
  }
  return errors;
}

/** A container's `resizePolicy`. A pod that never restarts cannot have a container restarted for a resize. */
function resizePolicyErrors(container: JsonObject, path: string, restartPolicy: Json | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<unknown>();
  for (const [index, policy] of objects(container.resizePolicy).entries()) {
    const { resourceName, restartPolicy: how } = policy;
    if (seen.has(resourceName)) errors.push(duplicate(`${path}[${index}]`, resourceName));
    seen.add(resourceName);
    if (!resizableResources.includes(String(resourceName)))
      errors.push(notSupported(path, resourceName ?? '', resizableResources));
    if (!resizePolicies.includes(String(how))) errors.push(notSupported(path, how ?? '', resizePolicies));
    if (restartPolicy === 'Never' && how !== 'NotRequired')
      errors.push(invalidValue(path, how ?? '', "must be 'NotRequired' when `restartPolicy` is 'Never'"));
  }
  return errors;
}

function portErrors(ports: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, port] of objects(ports).entries()) {
    const at = `${path}[${index}]`;
    if (typeof port.name === 'string' && port.name !== '') {
      const wrong = portNameErrors(port.name);
      for (const why of wrong) errors.push(invalidValue(`${at}.name`, port.name, why));
      if (wrong.length === 0 && names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    const number = Number(port.containerPort ?? 0);
    if (number === 0) errors.push(required(`${at}.containerPort`));
    else for (const why of portNumberErrors(number)) errors.push(invalidValue(`${at}.containerPort`, number, why));
    const hostPort = Number(port.hostPort ?? 0);
    if (hostPort !== 0)
      for (const why of portNumberErrors(hostPort)) errors.push(invalidValue(`${at}.hostPort`, hostPort, why));
    if (!protocols.includes(String(port.protocol)))
      errors.push(
        port.protocol === undefined || port.protocol === ''
          ? required(`${at}.protocol`)
          : notSupported(`${at}.protocol`, port.protocol, protocols),
      );
  }
  return errors;
}

function envErrors(env: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, variable] of objects(env).entries()) {
    const at = `${path}[${index}]`;
    const name = String(variable.name ?? '');
    if (name === '') errors.push(required(`${at}.name`));
    else for (const why of envVarNameErrors(name)) errors.push(invalidValue(`${at}.name`, name, why));
    const from = variable.valueFrom;
    if (!isObject(from)) continue;
    const kinds = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef', 'fileKeyRef'].filter((kind) =>
      isObject(from[kind]),
    );
    if (kinds.length === 0)
      errors.push(
        invalidValue(
          `${at}.valueFrom`,
          '',
          'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
        ),
      );
    else if (variable.value !== undefined && variable.value !== '')
      errors.push(invalidValue(`${at}.valueFrom`, '', 'may not be specified when `value` is not empty'));
    else if (kinds.length > 1)
      errors.push(invalidValue(`${at}.valueFrom`, '', 'may not have more than one field specified at a time'));
    if (isObject(from.fieldRef)) {
      const field = String(from.fieldRef.fieldPath ?? '');
      if (field === '') errors.push(required(`${at}.valueFrom.fieldRef.fieldPath`));
      else if (!fieldPaths.includes(field) && !/^metadata\.(labels|annotations)\['[^']+'\]$/.test(field)) {
        if (/^(metadata|spec|status)\./.test(field))
          errors.push(notSupported(`${at}.valueFrom.fieldRef.fieldPath`, field, fieldPaths));
        else
          errors.push(
            invalidValue(
              `${at}.valueFrom.fieldRef.fieldPath`,
              field,
              `error converting fieldPath: field label not supported: ${field}`,
            ),
          );
      }
    }
    if (isObject(from.resourceFieldRef)) {
      const resource = String(from.resourceFieldRef.resource ?? '');
      if (resource === '') errors.push(required(`${at}.valueFrom.resourceFieldRef.resource`));
      else if (!resourceFields.test(resource))
        errors.push(
          notSupported(`${at}.valueFrom.resourceFieldRef.resource`, resource, [
            'limits.cpu',
            'limits.ephemeral-storage',
            'limits.memory',
            'requests.cpu',
            'requests.ephemeral-storage',
            'requests.memory',
          ]),
        );
    }
    for (const kind of ['configMapKeyRef', 'secretKeyRef']) {
      const ref = from[kind];
      if (!isObject(ref)) continue;
      if (!ref.name) errors.push(required(`${at}.valueFrom.${kind}.name`));
      if (!ref.key) errors.push(required(`${at}.valueFrom.${kind}.key`));
      else
        for (const why of configMapKeyErrors(String(ref.key)))
          errors.push(invalidValue(`${at}.valueFrom.${kind}.key`, ref.key, why));
    }
  }
  return errors;
}

function mountErrors(container: JsonObject, path: string, volumes: ReadonlySet<string>): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  for (const [index, mount] of objects(container.volumeMounts).entries()) {
    const at = `${path}.volumeMounts[${index}]`;
    const name = String(mount.name ?? '');
    if (name === '') errors.push(required(`${at}.name`));
    else if (!volumes.has(name)) errors.push(notFoundField(`${at}.name`, name));
    const target = String(mount.mountPath ?? '');
    if (target === '') errors.push(required(`${at}.mountPath`));
    else if (paths.has(target)) errors.push(invalidValue(`${at}.mountPath`, target, 'must be unique'));
    paths.add(target);
    if (mount.subPath && mount.subPathExpr)
      errors.push(
        invalidValue(`${at}.subPathExpr`, mount.subPathExpr, 'subPathExpr and subPath are mutually exclusive'),
      );
    const propagation = mount.mountPropagation;
    errors.push(...oneOf(propagation, ['Bidirectional', 'HostToContainer', 'None'], `${at}.mountPropagation`, true));
    if (propagation === 'Bidirectional' && part(container, 'securityContext').privileged !== true)
      errors.push(
        forbiddenField(
          `${at}.mountPropagation`,
          'Bidirectional mount propagation is available only to privileged containers',
        ),
      );
    errors.push(
      ...oneOf(mount.recursiveReadOnly, ['Disabled', 'Enabled', 'IfPossible'], `${at}.recursiveReadOnly`, true),
    );
    if ((mount.recursiveReadOnly === 'Enabled' || mount.recursiveReadOnly === 'IfPossible') && mount.readOnly !== true)
      errors.push(forbiddenField(`${at}.recursiveReadOnly`, 'may only be specified when readOnly is true'));
    for (const field of ['subPath', 'subPathExpr']) {
      const value = mount[field];
      if (typeof value !== 'string' || value === '') continue;
      if (value.startsWith('/')) errors.push(invalidValue(`${at}.${field}`, value, 'must be a relative path'));
      if (value.split('/').includes('..')) errors.push(invalidValue(`${at}.${field}`, value, "must not contain '..'"));
    }
  }
  const devicePaths = new Set<string>();
  for (const [index, device] of objects(container.volumeDevices).entries()) {
    const at = `${path}.volumeDevices[${index}]`;
    if (!device.name) errors.push(required(`${at}.name`));
    else if (!volumes.has(String(device.name))) errors.push(notFoundField(`${at}.name`, device.name));
    const target = String(device.devicePath ?? '');
    if (target === '') errors.push(required(`${at}.devicePath`));
    else {
      if (devicePaths.has(target)) errors.push(invalidValue(`${at}.devicePath`, target, 'must be unique'));
      if (paths.has(target))
        errors.push(invalidValue(`${at}.devicePath`, target, 'must not already exist in volumeMounts'));
      if (target.split('/').includes('..'))
        errors.push(invalidValue(`${at}.devicePath`, target, "must not contain '..'"));
    }
    devicePaths.add(target);
  }
  return errors;
}

function handlerErrors(handler: JsonObject, path: string, kinds: readonly string[]): FieldError[] {
  const errors: FieldError[] = [];
  const given = kinds.filter((kind) => isObject(handler[kind]));
  if (given.length === 0) return [required(path, 'must specify a handler type')];
  for (const extra of given.slice(1))
    errors.push(forbiddenField(`${path}.${extra}`, 'may not specify more than 1 handler type'));
  if (isObject(handler.exec) && (!Array.isArray(handler.exec.command) || handler.exec.command.length === 0))
    errors.push(required(`${path}.exec.command`));
  for (const kind of ['httpGet', 'tcpSocket', 'grpc']) {
    const value = handler[kind];
    if (!isObject(value)) continue;
    if (kind === 'httpGet' && !value.path) errors.push(required(`${path}.httpGet.path`));
    if (kind === 'httpGet' && value.scheme !== 'HTTP' && value.scheme !== 'HTTPS')
      errors.push(notSupported(`${path}.httpGet.scheme`, value.scheme ?? '', ['HTTP', 'HTTPS']));
    if (typeof value.port === 'number')
      for (const why of portNumberErrors(value.port))
        errors.push(invalidValue(`${path}.${kind}.port`, value.port, why));
    else
      for (const why of portNameErrors(String(value.port ?? '')))
        errors.push(invalidValue(`${path}.${kind}.port`, value.port ?? '', why));
  }
  return errors;
}

function probeErrors(probe: JsonObject, path: string): FieldError[] {
  const errors = handlerErrors(probe, path, ['exec', 'httpGet', 'tcpSocket', 'grpc']);
  for (const field of [
    'initialDelaySeconds',
    'timeoutSeconds',
    'periodSeconds',
    'successThreshold',
    'failureThreshold',
  ])
    errors.push(...nonNegative(probe[field], `${path}.${field}`));
  if (typeof probe.terminationGracePeriodSeconds === 'number' && probe.terminationGracePeriodSeconds <= 0)
    errors.push(
      invalidValue(
        `${path}.terminationGracePeriodSeconds`,
        probe.terminationGracePeriodSeconds,
        'must be greater than 0',
      ),
    );
  return errors;
}
