import { EAGAIN, EINVAL, ENOENT, Refusal } from '../mon/errno.ts';
import { parsePg } from '../wire/types.ts';
import type { Command, CommandArguments, CommandTarget, Parameter } from './command-target.ts';
import { listUnfound } from './pg-query.ts';
import type { Pg } from './pg.ts';
import { makeScrubDue } from './scrub-commands.ts';
import { findPg } from './shards.ts';

/** The PG that is meant, which this OSD must lead. Errors: EINVAL, ENOENT, EAGAIN. */
function pgOf(target: CommandTarget, args: CommandArguments): Pg {
  if (args.pgid === undefined) throw new Refusal(EINVAL, 'no pgid specified');
  const text = String(args.pgid);
  const id = parsePg(text);
  if (id === undefined) throw new Refusal(EINVAL, `couldn't parse pgid '${text}'`);
  const pg = findPg(target.osd.pgs, id);
  if (pg === undefined) throw new Refusal(ENOENT, `i don't have pgid ${text}`);
  if (!pg.core.isPrimary) throw new Refusal(EAGAIN, `not primary for pgid ${text}`);
  return pg;
}

const optionalPg: Parameter = { name: 'pgid', type: 'CephPgid', req: 'false' };

const commands: readonly { name: string; more: readonly Parameter[]; help: string; run: Command['run'] }[] = [
  { name: 'query', more: [], help: 'what this OSD knows of a PG', run: (t, args) => pgOf(t, args).query() },
  {
    name: 'list_unfound',
    more: [{ name: 'offset', type: 'CephString', req: 'false' }],
    help: 'objects of a PG that no OSD has',
    run: (t, args) => listUnfound(pgOf(t, args), args.offset === undefined ? undefined : String(args.offset)),
  },
  ...(['scrub', 'deep_scrub'] as const).map((name) => ({
    name,
    more: [{ name: 'time', type: 'CephInt', req: 'false' }] satisfies Parameter[],
    help: 'make the next scrub of a PG due now',
    run: ((t, args) => ({
      deep: name === 'deep_scrub',
      stamp: makeScrubDue(pgOf(t, args), name === 'deep_scrub', Number(args.time ?? 0)),
    })) satisfies Command['run'],
  })),
];

/** Each as `ceph tell <pgid> scrub` and as `ceph pg <pgid> scrub` send it. */
export const pgCommands: readonly Command[] = commands.flatMap(({ name, more, help, run }): Command[] => [
  { sig: name === 'query' ? [name] : [name, optionalPg, ...more], help, perm: 'r', run },
  {
    sig: ['pg', { name: 'pgid', type: 'CephPgid' }, { name: 'cmd', type: 'CephChoices', strings: name }, ...more],
    help,
    perm: 'r',
    run,
  },
]);
