import { z } from 'zod';
import { type keyPaths, keys, nested, sections } from './keys.ts';

type Schema = Record<string, unknown>;

/** The JSON schema (2020-12) of `appliance.yaml`, for editors that complete and check while one types. */
export function jsonSchema(): Schema {
  const section = (properties: Schema, description?: string): Schema => ({
    ...(description === undefined ? {} : { description }),
    type: 'object',
    additionalProperties: false,
    properties,
  });
  const leaf = (path: (typeof keyPaths)[number]): Schema => {
    const { $schema: _, ...own } = z.toJSONSchema(keys[path].type.schema, { io: 'input', unrepresentable: 'any' });
    return {
      description: `${keys[path].about}\nDefault: ${keys[path].defaultText}`,
      ...own,
      examples: [keys[path].example],
    };
  };
  const top = nested(leaf);
  for (const [name, description] of Object.entries(sections)) top[name] = section(top[name] as Schema, description);
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'appliance.yaml',
    ...section(top, 'The configuration of one node. Every key is optional.'),
  };
}
