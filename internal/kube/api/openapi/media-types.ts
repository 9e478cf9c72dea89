import type { Operation } from './operations.ts';

/**
 * What bodies and answers are written in, as both OpenAPI documents tell it: in upstream's order, without CBOR, which is not served. Objects of custom
 * kinds have no protobuf form and no strategic merge.
 */
const plain: readonly string[] = ['application/json', 'application/yaml'];
const protobuf = 'application/vnd.kubernetes.protobuf';
const patches: readonly string[] = [
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
  'application/apply-patch+yaml',
];
const discovery = /^io\.k8s\.apimachinery\.pkg\.apis\.meta\.v1\.API/;

export function consumed(operation: Operation): readonly string[] {
  if (operation.method === 'patch')
    return operation.custom === true ? patches.filter((type) => !type.includes('strategic')) : patches;
  return operation.action === undefined ? produced(operation) : ['*/*'];
}

export function produced(operation: Operation): readonly string[] {
  const { action, answer, custom, watch } = operation;
  if (action === 'connect') return ['*/*'];
  if (action === undefined) return discovery.test(answer ?? '') ? [...plain, protobuf] : ['application/json'];
  const forms = custom === true ? plain : [...plain, protobuf];
  if (answer === undefined) return ['text/plain', ...forms];
  if (!watch) return forms;
  return [...forms, ...forms.filter((type) => type !== 'application/yaml').map((type) => `${type};stream=watch`)];
}
