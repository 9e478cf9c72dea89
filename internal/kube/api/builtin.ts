import { batchKinds } from './kinds/batch.ts';
import { coreKinds } from './kinds/core.ts';
import { extensionKinds } from './kinds/extensions.ts';
import { groupKinds } from './kinds/groups.ts';
import { networkingKinds } from './kinds/networking.ts';
import { nodeKinds } from './kinds/nodes.ts';
import { type KindTable, makeKindTable } from './kinds.ts';
import { type OpenApiDocuments, openApiDocuments } from './openapi/documents.ts';
import { readDocs } from './schema/docs-system.ts';
import { builtinSchemas } from './schema/structure.ts';

export type { JsonV3Index, OpenApiDocuments } from './openapi/documents.ts';
export { builtinSchemas };

/** Every kind that this version serves. */
export const builtinKinds: KindTable = makeKindTable([
  ...coreKinds,
  ...groupKinds,
  ...batchKinds,
  ...networkingKinds,
  ...nodeKinds,
  ...extensionKinds,
]);

/** OpenAPI of the built-in kinds. */
export const builtinOpenApi: OpenApiDocuments = openApiDocuments({
  kinds: builtinKinds,
  source: builtinSchemas,
  readDocs,
  version: 'v1.36.0',
});
