import type { Compare, KeyValue } from './api.ts';

/** Whether a comparison of a transaction holds for a key as it is; undefined: it is not there. */
export function holds(compare: Compare, kv: KeyValue | undefined): boolean {
  const order = difference(compare, kv);
  if (order === undefined) return false;
  switch (compare.result) {
    case 'equal':
      return order === 0;
    case 'not-equal':
      return order !== 0;
    case 'greater':
      return order > 0;
    case 'less':
      return order < 0;
  }
}

/** Sign of what is stored minus what was given; undefined when there is no value to compare. */
function difference(compare: Compare, kv: KeyValue | undefined): number | undefined {
  switch (compare.target) {
    case 'value':
      return kv === undefined ? undefined : Buffer.compare(kv.value, compare.value);
    case 'version':
      return (kv?.version ?? 0) - compare.value;
    case 'create':
      return (kv?.createRevision ?? 0) - compare.value;
    case 'mod':
      return (kv?.modRevision ?? 0) - compare.value;
    case 'lease': {
      const lease = kv?.lease ?? 0n;
      return lease === compare.value ? 0 : lease > compare.value ? 1 : -1;
    }
  }
}
