import { describe, expect, test } from 'vitest';
import { builtinSchemas } from '../api/schema/structure.ts';
import { type Decoded, decodeBody, type FieldValidation } from './decode.ts';

const decode = (
  text: string,
  mode: FieldValidation = 'Strict',
  type = 'application/json',
  kind = 'Deployment',
): Decoded =>
  decodeBody(new TextEncoder().encode(text), type, {
    schema: kind === 'Deployment' ? 'io.k8s.api.apps.v1.Deployment' : `io.k8s.api.core.v1.${kind}`,
    source: builtinSchemas,
    fieldValidation: mode,
    expect: { apiVersion: kind === 'Deployment' ? 'apps/v1' : 'v1', kind },
  });

describe('decoding of request bodies', () => {
  test('unknown and duplicate fields are refused together with upstream words', () => {
    expect(() => decode('{"spec":{"unknownField":1,"replicas":1,"replicas":2}}')).toThrow(
      'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.unknownField", duplicate field "spec.replicas"',
    );
    expect(() => decode('{"metadata":{"unknownMeta":"x"}}')).toThrow(
      'strict decoding error: unknown field "metadata.unknownMeta"',
    );
  });
  test('Warn drops them and tells', () => {
    const { object, warnings } = decode(
      '{"spec":{"x":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a","foo":1}]}}}}',
      'Warn',
    );
    expect(warnings).toEqual(['unknown field "spec.x"', 'unknown field "spec.template.spec.containers[0].foo"']);
    expect(object).toEqual({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      spec: { replicas: 2, template: { spec: { containers: [{ name: 'a' }] } } },
    });
    expect(decode('{"x":1}', 'Ignore').warnings).toEqual([]);
  });
  test('names of Object.prototype are no fields', () => {
    expect(decode('{"spec":{"constructor":{}}}', 'Warn').warnings).toEqual(['unknown field "spec.constructor"']);
    expect(() => decode('{"__proto__":{}}')).toThrow('not supported');
  });
  test.each([
    [
      '{"spec":{"replicas":"3"}}',
      'json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32',
    ],
    [
      '{"spec":{"replicas":3000000000}}',
      'cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32',
    ],
    ['{"spec":[]}', 'cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec'],
    [
      '{"metadata":{"labels":{"a":1}}}',
      'cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.a of type string',
    ],
    ['{"kind":"Pod"}', 'Pod in version "v1" cannot be handled as a Deployment'],
    ['{"apiVersion":"v1"}', 'the API version in the data (v1) does not match the expected API version (apps/v1)'],
    ['[]', 'a JSON object is expected'],
    ['{', "couldn't parse the body as JSON"],
    [`${'['.repeat(5000)}${']'.repeat(5000)}`, 'nests deeper'],
  ])('%.40s is a bad request', (text, message) => {
    expect(() => decode(text)).toThrow(message);
  });
  test('quantities, times and empty collections become canonical; nulls are absent', () => {
    const { object } = decode(
      '{"metadata":{"labels":{},"creationTimestamp":null},"spec":{"containers":[{"name":"a","args":[],"resources":{"limits":{"cpu":0.5,"memory":"1024Mi"}}}],"volumes":[{"name":"v","emptyDir":{}}]},"status":{"startTime":"2026-01-01T02:00:00.9+02:00"}}',
      'Strict',
      'application/json',
      'Pod',
    );
    expect(object).toEqual({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {},
      spec: {
        containers: [{ name: 'a', resources: { limits: { cpu: '500m', memory: '1Gi' } } }],
        volumes: [{ name: 'v', emptyDir: {} }],
      },
      status: { startTime: '2026-01-01T00:00:00Z' },
    });
  });
  test('YAML as Kubernetes reads it', () => {
    const text = 'data:\n  yes: "y"\n  time: "12:30"\nbinaryData:\n  b: aGk=\nimmutable: yes\n';
    expect(decode(text, 'Strict', 'application/yaml', 'ConfigMap').object).toEqual({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      data: { true: 'y', time: '12:30' },
      binaryData: { b: 'aGk=' },
      immutable: true,
    });
    const secret = 'spec:\n  volumes:\n  - name: v\n    configMap: {name: c, defaultMode: 0644}\n  containers: []\n';
    const pod = decode(secret, 'Strict', 'application/yaml', 'Pod').object;
    expect(pod).toHaveProperty('spec.volumes.0.configMap.defaultMode', 420);
    expect(() => decode('data:\n  a: "1"\n  a: "2"\n', 'Strict', 'application/yaml', 'ConfigMap')).toThrow(
      'line 3: key "a" already set in map',
    );
  });
  test('another media type is refused with 415', () => {
    expect(() => decode('{}', 'Strict', 'text/plain')).toThrow(expect.objectContaining({ httpCode: 415 }));
  });
});
