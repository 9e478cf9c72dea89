import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { PrinterColumn } from '../../machinery/table.ts';
import { age } from '../../machinery/time.ts';
import { objects } from '../defaults/helpers.ts';

/** Pieces that printers share (pkg/printers/internalversion). */
export type Cell = string | number | boolean | null;

type Type = PrinterColumn['type'];

export function column(
  name: string,
  description: string,
  options: { type?: Type; wide?: boolean; format?: string } = {},
): PrinterColumn {
  return {
    name,
    type: options.type ?? 'string',
    ...(options.format === undefined ? {} : { format: options.format }),
    description,
    priority: options.wide === true ? 1 : 0,
  };
}

export const nameColumn: PrinterColumn = column('Name', 'Name of the object, unique in its namespace.', {
  format: 'name',
});
export const ageColumn: PrinterColumn = column('Age', 'Time since the object was created.');
export const containerColumns: readonly PrinterColumn[] = [
  column('Containers', 'Names of each container in the template.', { wide: true }),
  column('Images', 'Images referenced by each container in the template.', { wide: true }),
];
export const selectorColumn: PrinterColumn = column('Selector', 'Which pods belong to the object.', { wide: true });

export function text(value: Json | undefined): string {
  return value === undefined || value === null ? '' : String(value);
}

export function orNone(value: string): string {
  return value === '' ? '<none>' : value;
}

export function part(object: JsonObject, key: string): JsonObject {
  const value = object[key];
  return isObject(value) ? value : {};
}

export function nameOf(object: JsonObject): string {
  return text(part(object, 'metadata').name);
}

export function ageOf(object: JsonObject, nowMs: number): string {
  return age(part(object, 'metadata').creationTimestamp, nowMs);
}

/** `a=1,b=2`, keys sorted; `<none>` for no labels. */
export function labelsText(labels: Json | undefined): string {
  if (!isObject(labels)) return '<none>';
  const parts = Object.keys(labels)
    .sort()
    .map((key) => `${key}=${text(labels[key])}`);
  return parts.length === 0 ? '<none>' : parts.join(',');
}

/** A LabelSelector as people write it. */
export function selectorText(selector: Json | undefined): string {
  if (!isObject(selector)) return '<none>';
  const parts: string[] = [];
  const labels = part(selector, 'matchLabels');
  for (const key of Object.keys(labels).sort()) parts.push(`${key}=${text(labels[key])}`);
  for (const { key, operator, values } of objects(selector.matchExpressions)) {
    const list = Array.isArray(values) ? values.map(String).sort().join(',') : '';
    if (operator === 'In') parts.push(`${text(key)} in (${list})`);
    else if (operator === 'NotIn') parts.push(`${text(key)} notin (${list})`);
    else if (operator === 'Exists') parts.push(text(key));
    else parts.push(`!${text(key)}`);
  }
  return parts.length === 0 ? '<none>' : parts.join(',');
}

/** Names and images of the containers of a template. */
export function containerCells(spec: JsonObject): [string, string] {
  const containers = objects(part(part(spec, 'template'), 'spec').containers);
  return [
    containers.map((container) => text(container.name)).join(','),
    containers.map((container) => text(container.image)).join(','),
  ];
}

export function count(value: Json | undefined): number {
  return typeof value === 'number' ? value : 0;
}

const accessModeShort: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

/** `RWO,ROX`, in upstream's order. */
export function accessModesText(modes: Json | undefined): string {
  const given = Array.isArray(modes) ? modes : [];
  return Object.keys(accessModeShort)
    .filter((mode) => given.includes(mode))
    .map((mode) => accessModeShort[mode])
    .join(',');
}
