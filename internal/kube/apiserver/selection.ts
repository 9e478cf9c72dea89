import { fieldReader } from '../api/lifecycle.ts';
import type { KindInfo } from '../api/kinds.ts';
import {
  everything,
  type FieldRequirement,
  type LabelSelector,
  matchesLabels,
  parseFieldSelector,
  parseLabelSelector,
} from '../machinery/selectors.ts';
import { badRequest } from '../machinery/status.ts';
import type { StoredRecord } from './record.ts';

/** What a list or watch is narrowed to; decided on the record's header alone. */
export interface Selection {
  readonly labels: LabelSelector;
  readonly fields: readonly FieldRequirement[];
  /** True when nothing is filtered. */
  readonly all: boolean;
  /** Set when the selection can match only the object of this name. */
  readonly onlyName: string | undefined;
}

export const selectAll: Selection = { labels: everything, fields: [], all: true, onlyName: undefined };

/** Reads `labelSelector` and `fieldSelector`. Throws 400 for syntax errors and fields that cannot be selected by. */
export function parseSelection(kind: KindInfo, query: URLSearchParams, name = ''): Selection {
  const labelText = query.get('labelSelector') ?? '';
  const fieldText = query.get('fieldSelector') ?? '';
  if (labelText === '' && fieldText === '' && name === '') return selectAll;
  const labels = parseLabelSelector(labelText);
  const fields = parseFieldSelector(fieldText);
  for (const { field } of fields) {
    const known = field.startsWith('metadata.') || Object.hasOwn(kind.selectableFields, field);
    if (!known || fieldReader(kind, field) === undefined) throw badRequest(`field label not supported: ${field}`);
  }
  if (name !== '') fields.push({ field: 'metadata.name', operator: '=', value: name });
  const onlyName = fields.find((field) => field.field === 'metadata.name' && field.operator === '=')?.value;
  return {
    labels,
    fields,
    all: labels.requirements.length === 0 && !labels.nothing && fields.length === 0,
    onlyName,
  };
}

/** `rest` is `[namespace/]name`, what follows the resource's prefix in the key; `fieldsOf` gives selectable fields, by default the header's. */
export function selects(
  selection: Selection,
  record: StoredRecord,
  rest: string,
  fieldsOf: () => Readonly<Record<string, string>> | undefined = () => record.header.f,
): boolean {
  if (selection.all) return true;
  const header = record.header;
  let fields: Readonly<Record<string, string>> | undefined;
  for (const { field, operator, value } of selection.fields) {
    let have: string;
    const slash = rest.indexOf('/');
    if (field === 'metadata.name') have = rest.slice(slash + 1);
    else if (field === 'metadata.namespace') have = slash < 0 ? '' : rest.slice(0, slash);
    else {
      fields ??= fieldsOf() ?? {};
      have = fields[field] ?? '';
    }
    if ((have === value) !== (operator === '=')) return false;
  }
  return matchesLabels(selection.labels, header.l);
}
