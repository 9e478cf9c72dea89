import { isObject, type JsonObject } from '../../machinery/json.ts';
import type { FieldError } from '../../machinery/status.ts';
import { forbiddenField, invalidValue } from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';

/**
 * What goes with a pod's operating system and what does not (pkg/apis/core/validation, validateLinux, validateWindows, validateWindowsHostProcessPod). A
 * pod that names none may have the fields of both.
 */
export function osErrors(spec: JsonObject, path: string): FieldError[] {
  const name = isObject(spec.os) ? spec.os.name : undefined;
  const own = name === 'linux' ? linuxErrors(spec, path) : name === 'windows' ? windowsErrors(spec, path) : [];
  return [...hostProcessErrors(spec, path), ...own];
}

/** The securityContext of each container, with its path. */
function contexts(spec: JsonObject, path: string): { at: string; context: JsonObject }[] {
  return ['initContainers', 'containers', 'ephemeralContainers'].flatMap((list) =>
    objects(spec[list]).map((container, index) => ({
      at: `${path}.${list}[${index}].securityContext`,
      context: isObject(container.securityContext) ? container.securityContext : {},
    })),
  );
}

const isSet = (value: unknown): boolean => value !== undefined && value !== null;

function linuxErrors(spec: JsonObject, path: string): FieldError[] {
  const pod = isObject(spec.securityContext) ? spec.securityContext : {};
  return [{ at: `${path}.securityContext`, context: pod }, ...contexts(spec, path)]
    .filter(({ context }) => isSet(context.windowsOptions))
    .map(({ at }) => forbiddenField(`${at}.windowsOptions`, 'windows options cannot be set for a linux pod'));
}

const notOnWindows = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'fsGroup',
  'fsGroupChangePolicy',
  'runAsUser',
  'runAsGroup',
  'supplementalGroups',
  'supplementalGroupsPolicy',
];
const notInWindowsContainers = [
  'appArmorProfile',
  'seLinuxOptions',
  'seccompProfile',
  'capabilities',
  'readOnlyRootFilesystem',
  'privileged',
  'allowPrivilegeEscalation',
  'procMount',
  'runAsUser',
  'runAsGroup',
];

function windowsErrors(spec: JsonObject, path: string): FieldError[] {
  const pod = isObject(spec.securityContext) ? spec.securityContext : {};
  const found = [
    ...notOnWindows.filter((field) => isSet(pod[field])).map((field) => `${path}.securityContext.${field}`),
    ...(objects(pod.sysctls).length > 0 ? [`${path}.securityContext.sysctls`] : []),
    ...['hostUsers', 'shareProcessNamespace'].filter((field) => isSet(spec[field])).map((field) => `${path}.${field}`),
    ...['hostPID', 'hostIPC'].filter((field) => spec[field] === true).map((field) => `${path}.${field}`),
    ...contexts(spec, path).flatMap(({ at, context }) =>
      notInWindowsContainers.filter((field) => isSet(context[field])).map((field) => `${at}.${field}`),
    ),
  ];
  return found.map((field) => forbiddenField(field, 'cannot be set for a windows pod'));
}

const hostProcessOf = (context: JsonObject): unknown =>
  isObject(context.windowsOptions) ? context.windowsOptions.hostProcess : undefined;

function hostProcessErrors(spec: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const pod = isObject(spec.securityContext) ? hostProcessOf(spec.securityContext) : undefined;
  const containers = contexts(spec, path);
  let count = 0;
  for (const { at, context } of containers) {
    const own = hostProcessOf(context);
    if (isSet(pod) && isSet(own) && pod !== own)
      errors.push(
        invalidValue(
          `${at}.windowsOptions.hostProcess`,
          own,
          `pod hostProcess value must be identical if both are specified, was ${String(pod)}`,
        ),
      );
    if (own === true || (!isSet(own) && pod === true)) count++;
  }
  if (count === 0) return errors;
  if (count !== containers.length)
    errors.push(
      invalidValue(
        path,
        '',
        'If pod contains any hostProcess containers then all containers must be HostProcess containers',
      ),
    );
  if (spec.hostNetwork !== true)
    errors.push(
      invalidValue(`${path}.hostNetwork`, false, 'hostNetwork must be true if pod contains any hostProcess containers'),
    );
  return errors;
}
