import { utf8Text } from '../../../base/bytes.ts';
import { structured, wantsJson } from '../../mon/commands/table.ts';
import { ENOENT, Refusal } from '../../mon/errno.ts';
import { column, tableText } from '../../mon/format/table.ts';
import { options } from '../../mon/options.ts';
import type { MgrHandler, MgrView } from './context.ts';

interface Setting {
  readonly name: string;
  readonly value: string;
  readonly source: 'mon' | 'default';
}

async function ask({ mon }: MgrView, command: Record<string, unknown>): Promise<string | undefined> {
  const { code, output } = await mon(command);
  return code < 0 ? undefined : utf8Text(output);
}

/** Errors: ENOENT for a daemon that is not there. */
async function checkDaemon(view: MgrView, who: string): Promise<void> {
  const [, type, id] = /^(\w+)\.(.+)$/.exec(who) ?? [];
  const known =
    type === 'osd'
      ? /^\d+$/.test(id!) && view.stats.map.exists(Number(id))
      : (type === 'mon' && (await ask(view, { prefix: 'mon metadata', id })) !== undefined) ||
        (type === 'mgr' && (await ask(view, { prefix: 'mgr metadata', who: id })) !== undefined);
  if (!known) throw new Refusal(ENOENT, `no config state for daemon ${who}`);
}

/** What the mons' configuration gives a daemon, which has no other. */
async function settingsOf(view: MgrView, who: string): Promise<Setting[]> {
  const text = (await ask(view, { prefix: 'config get', who, format: 'json' })) ?? '{}';
  return Object.entries(JSON.parse(text) as Record<string, { value: string }>).map(([name, { value }]) => ({
    name,
    value,
    source: 'mon',
  }));
}

const show =
  (withDefaults: boolean): MgrHandler =>
  async (view, args, format) => {
    const who = args.text('who');
    await checkDaemon(view, who);
    const key = args.optional('key');
    if (key !== undefined) {
      const value = await ask(view, { prefix: 'config get', who, key });
      if (value === undefined) throw new Refusal(ENOENT, '');
      return { output: `${value.trimEnd()}\n` };
    }
    const set = await settingsOf(view, who);
    const named = new Set(set.map(({ name }) => name));
    const defaults = [...options.values()].flatMap(({ name, initial }): Setting[] =>
      named.has(name) ? [] : [{ name, value: initial, source: 'default' }],
    );
    const all = [...set, ...(withDefaults ? defaults : [])].sort((a, b) => (a.name < b.name ? -1 : 1));
    if (wantsJson(format))
      return structured(
        all.map((one) => ({ ...one })),
        format,
      );
    const columns = ['NAME', 'VALUE', 'SOURCE', 'OVERRIDES', 'IGNORES'].map((name) => column(name));
    const rows = all.map(({ name, source, value }) => [name, value, source, '', '']);
    return { output: tableText(columns, rows) };
  };

/** `config show`: what a daemon goes by. */
export const configAnswers: Readonly<Record<string, MgrHandler>> = {
  'config show': show(false),
  'config show-with-defaults': show(true),
};
