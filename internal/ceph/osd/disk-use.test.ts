import { describe, expect, test } from 'vitest';
import { type DiskFacts, type DiskState, diskState, loopsOn } from './disk-use.ts';

const own = 'c1';
const table: readonly [what: string, facts: DiskFacts, state: DiskState][] = [
  ['an OSD of this node that runs', { configured: 1, holds: { osd: 1, fsid: own }, user: 'mounted' }, 'running'],
  ['one that does not', { configured: 1, holds: { osd: 1, fsid: own }, user: undefined }, 'stopped'],
  [
    'an OSD of this cluster that came from another node',
    { configured: undefined, holds: { osd: 4, fsid: own }, user: undefined },
    'adoptable',
  ],
  [
    'another OSD of this cluster than the configuration says',
    { configured: 1, holds: { osd: 4, fsid: own }, user: undefined },
    'adoptable',
  ],
  [
    'an OSD of another cluster with the same number',
    { configured: 1, holds: { osd: 1, fsid: 'c2' }, user: undefined },
    'foreign',
  ],
  [
    'an OSD, and this node has no cluster',
    { configured: undefined, holds: { osd: 1, fsid: 'c2' }, user: undefined },
    'foreign',
  ],
  ['a prepared one that is named', { configured: 1, holds: { osd: 1, fsid: undefined }, user: undefined }, 'stopped'],
  [
    'a prepared one that is not',
    { configured: undefined, holds: { osd: 1, fsid: undefined }, user: undefined },
    'unclear',
  ],
  ['a blank one', { configured: undefined, holds: 'blank', user: undefined }, 'blank'],
  ['one that is gone', { configured: 2, holds: undefined, user: undefined }, 'missing'],
  ['the disk of the system', { configured: undefined, holds: { other: 'it is mounted at /' }, user: 'x' }, 'other'],
];

describe('what disks are for', () => {
  test.each(table)('%s', (_, facts, state) => {
    expect(
      diskState(
        facts,
        facts.user === undefined && state === 'foreign' && facts.configured === undefined ? undefined : own,
      ).state,
    ).toBe(state);
  });

  test('a file is found behind its loop device, and no other', () => {
    const loops = [
      { name: 'loop0', backingFile: '/a/osd.img' },
      { name: 'loop1', backingFile: '/a/osd.img.old' },
      { name: 'loop2', backingFile: '/a/osd.img (deleted)' },
    ];
    expect(loopsOn('/a/osd.img', loops)).toEqual(['/dev/loop0']);
    expect(loopsOn('/b', loops)).toEqual([]);
  });
});
