import { getPath, type JsonObject } from './json.ts';
import { parseTime, formatTime } from './time.ts';

/** A column of `kubectl get`. */
export interface PrinterColumn {
  name: string;
  type: 'string' | 'integer' | 'number' | 'boolean' | 'date';
  format?: string;
  description: string;
  /** 0: always shown; 1: with `-o wide`. */
  priority: number;
}

export interface Printer {
  columns: PrinterColumn[];
  /** The cells of one object, in the order of the columns. `nowMs` is for ages. */
  row(object: JsonObject, nowMs: number): (string | number | boolean | null)[];
}

/** The columns of a kind that has no printer of its own (upstream's default table converter). */
export const nameAndAge: Printer = {
  columns: [
    {
      name: 'Name',
      type: 'string',
      format: 'name',
      description: 'Name must be unique within a namespace. See the metadata of the object.',
      priority: 0,
    },
    {
      name: 'Created At',
      type: 'date',
      description: 'When the object was created, as the server saw it.',
      priority: 0,
    },
  ],
  row: (object) => {
    const created = parseTime(getPath(object, 'metadata', 'creationTimestamp'));
    return [String(getPath(object, 'metadata', 'name') ?? ''), created === undefined ? '' : formatTime(created)];
  },
};

/** How rows carry their object: `includeObject` query parameter, default Metadata. */
export type IncludeObject = 'None' | 'Metadata' | 'Object';

/** PartialObjectMetadata of an object. */
export function partialMetadata(object: JsonObject): JsonObject {
  return {
    kind: 'PartialObjectMetadata',
    apiVersion: 'meta.k8s.io/v1',
    ...(object.metadata === undefined ? {} : { metadata: object.metadata }),
  };
}

/**
 * meta.k8s.io/v1 Table of some objects. `listMetadata` is the list's own metadata (resourceVersion, continue, remainingItemCount); for one object its
 * resourceVersion. `headers: false` leaves the column definitions out, as in the second and later events of a watch.
 */
export function makeTable(
  printer: Printer,
  objects: readonly JsonObject[],
  options: { nowMs: number; listMetadata: JsonObject; includeObject: IncludeObject; headers: boolean },
): JsonObject {
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: options.listMetadata,
    columnDefinitions: options.headers
      ? printer.columns.map((column) => ({
          name: column.name,
          type: column.type,
          format: column.format ?? '',
          description: column.description,
          priority: column.priority,
        }))
      : [],
    rows: objects.map((object) => ({
      cells: printer.row(object, options.nowMs),
      ...(options.includeObject === 'None'
        ? {}
        : { object: options.includeObject === 'Object' ? object : partialMetadata(object) }),
    })),
  };
}
