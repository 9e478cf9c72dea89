/**
 * Makes `upstream-options.tsv.zst` from what a daemon of Ceph 16.2.15 says over its admin socket:
 *
 *     ceph --admin-daemon /var/run/ceph/ceph-mon.a.asok config help > help.json
 *     ceph --admin-daemon /var/run/ceph/ceph-mon.a.asok config show > show.json
 *     bun internal/ceph/mon/upstream-options-main.ts help.json show.json
 *
 * Descriptions stay out; levels of logs are options that only `config show` has.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, zstdCompressSync } from 'node:zlib';

interface HelpOption {
  name: string;
  type: string;
  level: string;
  default: unknown;
  daemon_default: unknown;
  services: string[];
  enum_values?: string[];
  min: unknown;
  max: unknown;
  can_update_at_runtime: boolean;
  flags: string[];
}

const [helpFile, showFile] = process.argv.slice(2) as [string, string];
const { options } = JSON.parse(readFileSync(helpFile, 'utf8')) as { options: HelpOption[] };
const show = JSON.parse(readFileSync(showFile, 'utf8')) as Record<string, string>;

const lines = options.map((option) => {
  const initial = option.daemon_default === '' ? option.default : option.daemon_default;
  return [
    option.name,
    option.type,
    option.level,
    [
      ...(option.can_update_at_runtime ? ['runtime'] : []),
      ...(option.flags.includes('no_mon_update') ? ['fixed'] : []),
    ].join(' '),
    typeof initial === 'number' && option.type === 'float' ? initial.toFixed(6) : String(initial),
    String(option.min),
    String(option.max),
    (option.enum_values ?? []).join('|'),
    [...new Set(option.services)].join(','),
  ].join('\t');
});
const names = new Set(options.map(({ name }) => name));
for (const [name, value] of Object.entries(show))
  if (name.startsWith('debug_') && !names.has(name))
    lines.push([name, 'debug', 'advanced', 'runtime', value, '', '', '', ''].join('\t'));
const params = { [constants.ZSTD_c_compressionLevel]: 22 };
writeFileSync(
  join(import.meta.dirname, 'upstream-options.tsv.zst'),
  zstdCompressSync(`${lines.join('\n')}\n`, { params }),
);
