/**
 * How a built-in type lies in protobuf: its fields by number, from the table of definitions. Fields of a Go struct that JSON inlines (the VolumeSource of a
 * Volume) are in a message of their own.
 */
import { definitionOf, hasDefinition } from '../../api/schema/definitions.ts';

export interface FieldEntry {
  number: number;
  name: string;
  /** See `Place`. */
  zero: 'pointer' | 'always' | 'omitempty';
}

export interface InlineEntry {
  number: number;
  inline: Layout;
}

/** By number, ascending: the order in which Go writes them. */
export type Layout = ReadonlyMap<number, FieldEntry | InlineEntry>;

const layouts = new Map<string, Layout>();

/** The layout of a definition; undefined for types without one. */
export function layoutOf(definition: string): Layout | undefined {
  const known = layouts.get(definition);
  if (known !== undefined) return known;
  if (!hasDefinition(definition)) return undefined;
  const root = new Map<number, FieldEntry | InlineEntry>();
  for (const { name, place } of definitionOf(definition).fields) {
    if (place === undefined) continue;
    let at = root;
    for (const number of place.within) {
      let entry = at.get(number);
      if (entry === undefined || !('inline' in entry)) {
        entry = { number, inline: new Map() };
        at.set(number, entry);
      }
      at = entry.inline as Map<number, FieldEntry | InlineEntry>;
    }
    at.set(place.number, { number: place.number, name, zero: place.zero });
  }
  const layout = sorted(root);
  layouts.set(definition, layout);
  return layout;
}

function sorted(layout: Layout): Layout {
  return new Map(
    [...layout]
      .sort(([a], [b]) => a - b)
      .map(([number, entry]) => [number, 'inline' in entry ? { number, inline: sorted(entry.inline) } : entry]),
  );
}
