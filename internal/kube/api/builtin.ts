import { coreKinds } from './kinds/core.ts';
import { groupKinds } from './kinds/groups.ts';
import { type KindTable, makeKindTable } from './kinds.ts';

/** Every kind that this version serves. */
export const builtinKinds: KindTable = makeKindTable([...coreKinds, ...groupKinds]);

export { builtinSchemas } from './schema/structure.ts';

export interface OpenApiDocuments {
  /** `/openapi/v2` as JSON. */
  v2Json(): Promise<Uint8Array>;
  /** `/openapi/v2` as application/com.github.proto-openapi.spec.v2@v1.0+protobuf. */
  v2Protobuf(): Promise<Uint8Array>;
  /** `/openapi/v3`: paths -> {serverRelativeURL: '/openapi/v3/apis/apps/v1?hash=…'}. */
  v3Index(): Promise<JsonV3Index>;
  /** `/openapi/v3/<path>` (path `api/v1`, `apis/apps/v1`), or undefined. */
  v3Json(path: string): Promise<Uint8Array | undefined>;
}

export interface JsonV3Index {
  paths: Record<string, { serverRelativeURL: string }>;
}
