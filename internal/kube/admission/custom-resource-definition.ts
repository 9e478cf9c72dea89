import { getPath, isObject, type Json, type JsonObject, jsonEqual } from '../machinery/json.ts';
import { parseJsonPath } from '../machinery/json-path.ts';
import { type FieldError, invalid } from '../machinery/status.ts';
import { definitionErrors } from '../machinery/structural/definition.ts';
import { someNode, structuralOf } from '../machinery/structural/schema.ts';
import { invalidValue } from '../machinery/validation.ts';
import { type AdmissionPlugin, isFor } from './types.ts';

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

/**
 * Schemas of CustomResourceDefinitions are structural, their rules compile and stay within the budget, their paths can be read. What did not change since it
 * was accepted is not looked at again. A validation of the kind that needs the expression library, which is loaded when a definition has rules.
 */
export const customResourceDefinition: AdmissionPlugin = {
  name: 'CustomResourceDefinition',
  async validate(request) {
    if (!isFor(request, 'apiextensions.k8s.io', 'customresourcedefinitions')) return;
    if (request.object === undefined || (request.operation !== 'CREATE' && request.operation !== 'UPDATE')) return;
    const before = new Map(objects(getPath(request.old, 'spec', 'versions')).map((one) => [one.name, one]));
    const errors: FieldError[] = [];
    for (const [index, version] of objects(getPath(request.object, 'spec', 'versions')).entries()) {
      if (jsonEqual(before.get(version.name), version)) continue;
      errors.push(...(await versionErrors(version, `spec.versions[${index}]`)));
    }
    if (errors.length > 0) throw invalid(request.kind.group, request.kind.kind, request.name, errors);
  },
};

async function versionErrors(version: JsonObject, path: string): Promise<FieldError[]> {
  const errors: FieldError[] = [];
  const schema = getPath(version, 'schema', 'openAPIV3Schema');
  if (isObject(schema)) {
    const at = `${path}.schema.openAPIV3Schema`;
    errors.push(...definitionErrors(schema, at));
    if (errors.length === 0 && someNode(structuralOf(schema), (node) => node.rules.length > 0)) {
      const { ruleDefinitionErrors } = await import('../machinery/cel/definition.ts');
      errors.push(...ruleDefinitionErrors(schema, at));
    }
  }
  for (const [field, list] of [
    ['additionalPrinterColumns', version.additionalPrinterColumns],
    ['selectableFields', version.selectableFields],
  ] as const)
    for (const [index, one] of objects(list).entries()) {
      const jsonPath = one.jsonPath;
      if (typeof jsonPath !== 'string' || jsonPath === '') continue;
      try {
        parseJsonPath(jsonPath);
      } catch (error) {
        const why = error instanceof Error ? error.message : String(error);
        errors.push(invalidValue(`${path}.${field}[${index}].jsonPath`, jsonPath, `is an invalid path: ${why}`));
      }
    }
  return errors;
}
