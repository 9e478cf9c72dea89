import { column, tableText } from '../../mon/format/table.ts';
import type { PoolScale } from '../autoscale.ts';
import { fixedWidth } from './osd-status.ts';
import { pyFloat as float } from './python.ts';

const left = ['POOL', 'AUTOSCALE', 'BULK'];

/** `osd pool autoscale-status` (a PrettyTable without a border: two spaces behind every column). */
export function autoscaleText(pools: readonly PoolScale[]): string {
  const names = [
    ...['POOL', 'SIZE', 'TARGET SIZE', 'RATE', 'RAW CAPACITY', 'RATIO', 'TARGET RATIO', 'EFFECTIVE RATIO', 'BIAS'],
    ...['PG_NUM', 'NEW PG_NUM', 'AUTOSCALE', 'BULK'],
  ];
  const columns = names.map((name) => {
    const side = left.includes(name) ? 'left' : 'right';
    return column(name, side, side);
  });
  const ratio = (value: number): string => (value > 0 ? value.toFixed(4) : '');
  const rows = pools.map((p) => [
    p.name,
    fixedWidth(p.logicalUsed, 6, 1024),
    p.targetBytes > 0 ? fixedWidth(p.targetBytes, 6, 1024) : '',
    float(p.rawUsedRate),
    fixedWidth(p.capacity, 6, 1024),
    p.capacityRatio.toFixed(4),
    ratio(p.targetRatio),
    ratio(p.effectiveTargetRatio),
    float(p.bias),
    String(p.pgNumTarget),
    p.wouldAdjust ? String(p.final) : '',
    p.mode,
    p.bulk ? 'True' : 'False',
  ]);
  return tableText(columns, rows).replaceAll('\n', '  \n');
}

/** The same as JSON: keys sorted, four spaces, floating-point numbers with a point. */
export function autoscaleJson(pools: readonly PoolScale[]): string {
  const one = (p: PoolScale): string => {
    const fields: [string, string][] = [
      ['actual_capacity_ratio', float(p.actualRatio)],
      ['actual_raw_used', float(p.actualRawUsed)],
      ['bias', float(p.bias)],
      ['bulk', String(p.bulk)],
      ['capacity_ratio', float(p.capacityRatio)],
      ['crush_root_id', String(p.root)],
      ['effective_target_ratio', float(p.effectiveTargetRatio)],
      ['logical_used', String(p.logicalUsed)],
      ['pg_autoscale_mode', JSON.stringify(p.mode)],
      ['pg_num_final', String(p.final)],
      ['pg_num_ideal', String(p.ideal)],
      ['pg_num_target', String(p.pgNumTarget)],
      ['pool_id', String(p.id)],
      ['pool_name', JSON.stringify(p.name)],
      ['raw_used', float(p.rawUsed)],
      ['raw_used_rate', float(p.rawUsedRate)],
      ['subtree_capacity', String(p.capacity)],
      ['target_bytes', String(p.targetBytes)],
      ['target_ratio', float(p.targetRatio)],
      ['would_adjust', String(p.wouldAdjust)],
    ];
    return `    {\n${fields.map(([name, value]) => `        "${name}": ${value}`).join(',\n')}\n    }`;
  };
  return pools.length === 0 ? '[]\n' : `[\n${pools.map(one).join(',\n')}\n]\n`;
}
