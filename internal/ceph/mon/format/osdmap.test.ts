import { describe, expect, test } from 'vitest';
import { haveRecorded, recordedBytes, recordedText } from '../../crush/recorded.testing.ts';
import { decodeOsdMap } from '../../maps/osdmap-codec.ts';
import { jsonText } from './json.ts';
import { osdMapJson, osdMapText } from './osdmap.ts';
import { readdirSync } from 'node:fs';

const root = new URL('../../../../../shared/data/ceph-16.2.15/', import.meta.url).pathname;

describe.skipIf(!haveRecorded)('osd dump is laid out as by 16.2.15', () => {
  for (const folder of ['maps/osdmap-c1', 'maps/osdmap-w1']) {
    const names = haveRecorded ? readdirSync(root + folder).filter((name) => /^e\d+\.bin$/.test(name)) : [];
    for (const name of names)
      test(`${folder}/${name}`, () => {
        const map = decodeOsdMap(recordedBytes(`${folder}/${name}`));
        const stem = `${folder}/${name.replace('.bin', '')}`;
        const json = recordedText(`${stem}.json.gz`);
        expect(JSON.parse(jsonText(osdMapJson(map)))).toEqual(JSON.parse(json));
        // The tool writes `wrote`-like blank lines between the parts; the mon does not.
        const lines = (text: string): string[] =>
          // Upstream keeps the blocklist in a hash table: its order is by chance.
          text
            .split('\n')
            .filter((line) => line !== '')
            .sort();
        expect(lines(osdMapText(map))).toEqual(lines(recordedText(`${stem}.print.txt.gz`)));
      });
  }
});
