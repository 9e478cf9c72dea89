import { addEmptyBucket } from './build.ts';
import { CrushMap } from './map.ts';
import { addSimpleRule } from './rules.ts';

/** Bucket types of a new cluster, by number. */
export const defaultTypes: readonly string[] = [
  'osd',
  'host',
  'chassis',
  'rack',
  'row',
  'pdu',
  'pod',
  'room',
  'datacenter',
  'zone',
  'region',
  'root',
];

/** The map of a new cluster (`OSDMap::build_simple_crush_map`): root `default` without devices, rule `replicated_rule` over the failure domain. */
export function newCrushMap(failureDomain: string): CrushMap {
  const map = new CrushMap();
  defaultTypes.forEach((name, type) => {
    map.typeNames.set(type, name);
  });
  addEmptyBucket(map, 'default', defaultTypes.indexOf('root'));
  addSimpleRule(map, { name: 'replicated_rule', root: 'default', failureDomain, mode: 'firstn', type: 1 });
  return map;
}
