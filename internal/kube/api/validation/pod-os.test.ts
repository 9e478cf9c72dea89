import { expect, test } from 'vitest';
import type { JsonObject } from '../../machinery/json.ts';
import { osErrors } from './pod-os.ts';

const told = (spec: JsonObject): string[] => osErrors(spec, 'spec').map(({ field, detail }) => `${field}: ${detail}`);
const context = (securityContext: JsonObject): JsonObject => ({ containers: [{ name: 'c', securityContext }] });

test.each<[string, JsonObject, string[]]>([
  ['no system: the fields of both', { ...context({ privileged: true, windowsOptions: { runAsUserName: 'u' } }) }, []],
  [
    'Linux: no options of Windows, in the pod or in a container',
    {
      os: { name: 'linux' },
      securityContext: { windowsOptions: {}, runAsUser: 1 },
      initContainers: [{ name: 'i', securityContext: { windowsOptions: { runAsUserName: 'u' } } }],
    },
    [
      'spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod',
      'spec.initContainers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod',
    ],
  ],
  [
    'Windows: nothing that only Linux has',
    {
      os: { name: 'windows' },
      securityContext: { fsGroup: 1, sysctls: [{ name: 'a', value: 'b' }], runAsNonRoot: true },
      hostPID: true,
      hostIPC: false,
      hostUsers: true,
      ...context({ capabilities: {}, privileged: false, windowsOptions: { runAsUserName: 'u' } }),
    },
    [
      'spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod',
      'spec.securityContext.sysctls: Forbidden: cannot be set for a windows pod',
      'spec.hostUsers: Forbidden: cannot be set for a windows pod',
      'spec.hostPID: Forbidden: cannot be set for a windows pod',
      'spec.containers[0].securityContext.capabilities: Forbidden: cannot be set for a windows pod',
      'spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod',
    ],
  ],
  [
    'host processes: all containers or none, alike, in the network of the host',
    {
      securityContext: { windowsOptions: { hostProcess: true } },
      containers: [{ name: 'a', securityContext: { windowsOptions: { hostProcess: false } } }, { name: 'b' }],
    },
    [
      'spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must be identical if both are specified, was true',
      'spec: Invalid value: "": If pod contains any hostProcess containers then all containers must be HostProcess containers',
      'spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers',
    ],
  ],
  [
    'host processes that all containers inherit',
    { hostNetwork: true, securityContext: { windowsOptions: { hostProcess: true } }, containers: [{ name: 'a' }] },
    [],
  ],
])('%s', (_, spec, errors) => {
  expect(told(spec)).toEqual(errors);
});
