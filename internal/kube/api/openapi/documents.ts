import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import { utf8 } from '../../../base/bytes.ts';
import type { SchemaSource } from '../../machinery/openapi.ts';
import type { KindTable } from '../kinds.ts';
import type { Docs } from './texts.ts';
import { documentV2 } from './v2.ts';
import { encodeV2 } from './v2-protobuf.ts';
import { documentPaths, documentV3 } from './v3.ts';

export interface JsonV3Index {
  paths: Record<string, { serverRelativeURL: string }>;
}

/** The OpenAPI documents as they go over the wire. Made when first asked for and kept compressed: nothing of them is in memory otherwise. */
export interface OpenApiDocuments {
  /** `/openapi/v2` as JSON. */
  v2Json(): Promise<Uint8Array>;
  /** `/openapi/v2` as application/com.github.proto-openapi.spec.v2@v1.0+protobuf. */
  v2Protobuf(): Promise<Uint8Array>;
  /** `/openapi/v3`: paths -> {serverRelativeURL: '/openapi/v3/apis/apps/v1?hash=…'}. */
  v3Index(): Promise<JsonV3Index>;
  /** `/openapi/v3/<path>` (path `api/v1`, `apis/apps/v1`), or undefined. */
  v3Json(path: string): Promise<Uint8Array | undefined>;
  /** Texts of the definitions, for documents made beside these; not to be kept. */
  texts(): Docs;
}

/** Documents of a table of kinds. `readDocs` gives the texts; they are let go after each document. */
export function openApiDocuments(options: {
  kinds: KindTable;
  source: SchemaSource;
  readDocs: () => Docs;
  version: string;
}): OpenApiDocuments {
  const { kinds, source, readDocs, version } = options;
  const paths = documentPaths(kinds);
  const kept = new Map<string, Uint8Array>();
  const document = async (key: string, make: (docs: Docs) => Uint8Array): Promise<Uint8Array> => {
    let compressed = kept.get(key);
    if (compressed === undefined) {
      compressed = gzipSync(make(readDocs()));
      kept.set(key, compressed);
    }
    return gunzipSync(compressed);
  };
  // The texts are part of the executable: the table and the version tell apart what differs between two servers.
  const hash = (path: string): string =>
    createHash('sha256')
      .update(`${version}\n${path}\n`)
      .update(JSON.stringify(paths.get(path)?.()))
      .digest('hex')
      .slice(0, 64)
      .toUpperCase();
  return {
    v2Json: () => document('v2', (docs) => utf8(JSON.stringify(documentV2(kinds, source, docs, version)))),
    v2Protobuf: () => document('v2pb', (docs) => encodeV2(documentV2(kinds, source, docs, version))),
    v3Index: async () => ({
      paths: Object.fromEntries(
        [...paths.keys()].map((path) => [path, { serverRelativeURL: `/openapi/v3/${path}?hash=${hash(path)}` }]),
      ),
    }),
    texts: readDocs,
    v3Json: async (path) => {
      const operations = paths.get(path);
      if (operations === undefined) return undefined;
      return document(path, (docs) => utf8(JSON.stringify(documentV3(kinds, operations(), source, docs, version))));
    },
  };
}
