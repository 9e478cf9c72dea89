import { AppError } from '../../../base/errors.ts';
import { sleep } from '../../../base/clock.ts';
import { encodeMonMap, monFeatureNames, type MonMap } from '../../maps/monmap.ts';
import type { UTime } from '../../wire/encoding.ts';
import { addrV2, addrVecText, parseAddr, sameAddrs } from '../../wire/types.ts';
import { EBUSY, EEXIST, EINVAL, ENOENT, EPERM, Refusal } from '../errno.ts';
import { type Json, jsonText } from '../format/json.ts';
import { electionEpoch, featureNames, monMapJson, monMapText } from '../format/monmap.ts';
import type { Mon } from '../mon.ts';
import { admitMon } from '../quorum/admit.ts';
import { memberOf, withMon, withoutMon } from '../quorum/mon-map.ts';
import { isElsewhere } from '../quorum/quorum.ts';
import { cephRelease } from '../version.ts';
import { countMetadata, metadataJson } from './cluster.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, FLAG_HIDDEN, FLAG_TELL, structured, wantsJson } from './table.ts';

/** A change of the members waits for the one before it. */
const changeEveryMs = 500;
const changeTries = 20;

async function changeMembers(mon: Mon, change: () => Promise<unknown>): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await change();
      return;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (error.code === 'MEMBER_NOT_FOUND') return;
      if (isElsewhere(error) && !mon.quorum.leads) throw error;
      if (tries === changeTries || !/^(UNHEALTHY_CLUSTER|NO_LEADER|TIMEOUT)$/.test(error.code))
        throw new Refusal(EBUSY, `the mons cannot be changed now: ${error.message}`);
      await sleep(mon.clock, changeEveryMs);
    }
  }
}

function monNamed(mon: Mon, name: string): Mon['state']['monmap']['mons'][number] | undefined {
  return mon.state.monmap.mons.find((info) => info.name === name);
}

/** Whether a majority of `all` is among those that would stay. */
function stayText(names: readonly string[]): string {
  return names.join(',');
}

async function addMon(mon: Mon, name: string, text: string): Promise<string> {
  const parsed = parseAddr(text.includes(':') && !text.startsWith('[') && !/:\d+/.test(text) ? `[${text}]` : text);
  if (parsed === undefined) throw new Refusal(EINVAL, `addr ${text}does not parse`);
  const own = mon.addrs[0]!;
  const addrs = [addrV2(parsed.ip, parsed.port === 0 ? own.port : parsed.port, 0)];
  const known = monNamed(mon, name);
  if (known !== undefined && sameAddrs(known.addrs, addrs))
    return `mon.${name} at ${addrVecText(addrs)} already exists`;
  if (known !== undefined)
    throw new Refusal(EEXIST, `mon.${name} already exists at address ${addrVecText(known.addrs)}`);
  const there = mon.state.monmap.mons.find((info) => sameAddrs(info.addrs, addrs));
  if (there !== undefined) throw new Refusal(EEXIST, `mon.${there.name} already exists at address ${text}`);
  const { cluster } = mon.group;
  const url = `https://${parsed.ip}:${mon.peerPort}`;
  if (!cluster.members().some(({ peerUrls }) => peerUrls.includes(url)))
    await changeMembers(mon, () => cluster.addMember([url], true));
  await mon.update((draft) => {
    if (draft.state.monmap.mons.every((info) => info.name !== name))
      draft.setMonMap(withMon(draft.state.monmap, { name, addrs }, draft.now));
  });
  return `adding mon.${name} at ${addrVecText(addrs)}`;
}

async function removeMon(mon: Mon, name: string): Promise<string> {
  const info = monNamed(mon, name);
  if (info === undefined) return `mon.${name} does not exist or has already been removed`;
  const { mons } = mon.state.monmap;
  if (mons.length === 1) throw new Refusal(EINVAL, `error: refusing removal of last monitor ${name}`);
  const { cluster } = mon.group;
  const member = memberOf(info, cluster.members());
  // Of the map first: clients are to look elsewhere before it is gone.
  await mon.update((draft) => {
    if (draft.state.monmap.mons.some((each) => each.name === name) && draft.state.monmap.mons.length > 1)
      draft.setMonMap(withoutMon(draft.state.monmap, name, draft.now));
    draft.setMonMetadata(name, undefined);
  });
  if (member !== undefined) await changeMembers(mon, () => cluster.removeMember(member.id));
  return `removing mon.${name} at ${addrVecText(info.addrs)}, there will be ${mons.length - 1} monitors`;
}

function changedMap(map: MonMap, now: UTime, mons: MonMap['mons']): MonMap {
  return { ...map, epoch: map.epoch + 1, lastChanged: now, removedRanks: [], mons };
}

/** Names of a list that are in quorum and would stay, and whether that is a majority. */
function without(mon: Mon, ids: readonly string[], removed: boolean): { stay: string[]; enough: boolean } {
  const { mons } = mon.state.monmap;
  for (const id of ids) if (monNamed(mon, id) === undefined) throw new Refusal(ENOENT, `mon.${id} does not exist`);
  const stay = mon.inQuorum.names.filter((name) => !ids.includes(name));
  const all = mons.length - (removed ? ids.length : 0);
  return { stay, enough: stay.length >= Math.floor(all / 2) + 1 };
}

export const monMapCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'quorum_status',
    help: 'show the mons that agree',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { monmap } = mon.state;
      const { leader, names, ranks, sinceMs } = mon.inQuorum;
      const value = {
        election_epoch: electionEpoch(mon),
        quorum: ranks,
        quorum_names: names,
        quorum_leader_name: leader,
        quorum_age: Math.floor((mon.clock.now() - sinceMs) / 1000),
        features: { quorum_con: '4540138314316775423', quorum_mon: featureNames(monmap.persistentFeatures) },
        monmap: monMapJson(monmap),
      };
      // Upstream has no pretty form of it unless asked for.
      return { output: `${jsonText(value, format === 'json-pretty')}${format === 'json-pretty' ? '\n' : ''}\n` };
    },
  },
  {
    signature: 'mon stat',
    help: 'show the mons in one line',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { monmap } = mon.state;
      const { leader, names, ranks } = mon.inQuorum;
      if (wantsJson(format))
        return structured(
          {
            epoch: monmap.epoch,
            min_mon_release_name: cephRelease,
            num_mons: monmap.mons.length,
            leader,
            quorum: ranks.map((rank) => ({ rank, name: monmap.mons[rank]!.name })),
          },
          format,
          'json',
        );
      const list = monmap.mons.map(({ name, addrs }) => `${name}=${addrVecText(addrs)}`).join(',');
      const leaderRank = monmap.mons.findIndex(({ name }) => name === leader);
      return {
        output: `e${monmap.epoch}: ${monmap.mons.length} mons at {${list}} removed_ranks: {${monmap.removedRanks.join(',')}}, election epoch ${electionEpoch(mon)}, leader ${leaderRank} ${leader}, quorum ${ranks.join(',')} ${names.join(',')}\n`,
      };
    },
  },
  {
    signature: 'mon dump name=epoch,type=CephInt,range=0,req=false',
    help: 'show the map of the mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { monmap } = mon.state;
      const epoch = args.optionalNumber('epoch');
      if (epoch !== undefined && epoch !== 0 && epoch !== monmap.epoch)
        throw new Refusal(ENOENT, `there is no map for epoch ${epoch}`);
      const status = `dumped monmap epoch ${monmap.epoch}`;
      if (!wantsJson(format)) return { status, output: monMapText(monmap) };
      return { status, ...structured({ ...monMapJson(monmap), quorum: mon.inQuorum.ranks }, format, 'json') };
    },
  },
  {
    signature: 'mon getmap name=epoch,type=CephInt,range=0,req=false',
    help: 'give the map of the mons as binary',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }) => ({
      status: `got monmap epoch ${mon.state.monmap.epoch}`,
      output: encodeMonMap(mon.state.monmap),
    }),
  },
  {
    signature: 'mon metadata name=id,type=CephString,req=false',
    help: 'show facts about a mon or all mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const id = args.optional('id');
      const of = (name: string): Map<string, Json> =>
        new Map<string, Json>([['name', name], ...metadataJson(mon.state.monMetadata.get(name) ?? new Map())]);
      if (id === undefined)
        return structured(
          mon.state.monmap.mons.map(({ name }) => of(name)),
          format,
          'json',
        );
      if (monNamed(mon, id) === undefined) throw new Refusal(ENOENT, 'requested mon not found');
      return structured(of(id), format, 'json');
    },
  },
  {
    signature: 'mon count-metadata name=property,type=CephString',
    help: 'count the values of a fact about mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args, format) =>
      structured(countMetadata(mon.state.monMetadata.values(), args.text('property')), format),
  },
  {
    signature: 'mon versions',
    help: 'count the versions of the mons',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) =>
      structured(countMetadata(mon.state.monMetadata.values(), 'ceph_version'), format, 'json'),
  },
  {
    signature: 'mon feature ls name=with_value,type=CephChoices,strings=--with-value,req=false',
    help: 'show what the mons can do',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const names = featureNames(mon.state.monmap.persistentFeatures);
      const optional = featureNames(mon.state.monmap.optionalFeatures);
      if (wantsJson(format))
        return structured(
          { all: { supported: names, persistent: names }, monmap: { persistent: names, optional, required: names } },
          format,
          'json',
        );
      const list = `[${names.join(',')}]`;
      return {
        output: `all features\n\tsupported: ${list}\n\tpersistent: ${list}\non current monmap (epoch ${mon.state.monmap.epoch})\n\tpersistent: ${list}\n\trequired: ${list}\n`,
      };
    },
  },
  {
    signature: 'mon add name=name,type=CephString name=addr,type=CephIPAddr',
    help: 'make room for a mon that will be at an address',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => ({ status: await addMon(mon, args.text('name'), args.text('addr')) }),
  },
  ...(['rm', 'remove'] as const).map(
    (verb): CommandEntry<CommandContext> => ({
      signature: `mon ${verb} name=name,type=CephString`,
      help: 'remove a mon',
      module: 'mon',
      perm: 'rw',
      flags: verb === 'remove' ? 4 : 0,
      handler: async ({ mon }, args) => ({ status: await removeMon(mon, args.text('name')) }),
    }),
  ),
  {
    signature:
      'mon join name=node,type=CephString name=addr,type=CephString name=peer_url,type=CephString name=member,type=CephString,req=false',
    help: 'let a node of the cluster be a mon: who it is',
    module: 'mon',
    perm: 'rwx',
    flags: FLAG_HIDDEN,
    handler: async ({ mon }, args) => {
      const asked = {
        node: args.text('node'),
        addr: args.text('addr'),
        peerUrl: args.text('peer_url'),
        member: args.optional('member'),
      };
      return structured(await admitMon(mon, asked), 'json');
    },
  },
  {
    signature: 'mon leave name=node,type=CephString',
    help: 'remove the mon of a node that is gone',
    module: 'mon',
    perm: 'rwx',
    flags: FLAG_HIDDEN,
    handler: async ({ mon }, args) => {
      const { mons } = mon.state.monmap;
      const members = mon.group.cluster.members();
      const gone = mons.find((info) => memberOf(info, members)?.node === args.text('node'));
      return gone === undefined || mons.length === 1 ? {} : { status: await removeMon(mon, gone.name) };
    },
  },
  {
    signature: 'mon ok-to-stop name=ids,type=CephString,n=N',
    help: 'tell whether the mons go on without these',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args) => {
      const ids = args.list('ids');
      const { enough, stay } = without(mon, ids, false);
      if (enough) return { status: `quorum should be preserved (${stayText(stay)}) after stopping [${ids.join(',')}]` };
      throw new Refusal(
        EBUSY,
        `not enough monitors would be available (${stayText(stay)}) after stopping mons [${ids.join(',')}]`,
      );
    },
  },
  {
    signature: 'mon ok-to-rm name=id,type=CephString',
    help: 'tell whether the mons go on when this one is removed',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, args) => {
      const id = args.text('id');
      if (monNamed(mon, id) === undefined) return { status: `mon.${id} does not exist` };
      const { enough, stay } = without(mon, [id], true);
      if (enough) return { status: 'quorum should be preserved after removal' };
      throw new Refusal(EBUSY, `quorum would be lost: only ${stayText(stay)} would be left to agree`);
    },
  },
  {
    signature: 'mon ok-to-add-offline',
    help: 'tell whether a mon that does not run can be added',
    module: 'mon',
    perm: 'r',
    // One that has never run has no vote.
    handler: () => ({ status: 'a mon that is added has a vote only when it has caught up' }),
  },
  {
    signature: 'mon set-rank name=name,type=CephString name=rank,type=CephInt',
    help: 'put a mon at another place of the map',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const rank = args.number('rank');
      await mon.update((draft) => {
        const map = draft.state.monmap;
        const info = map.mons.find((each) => each.name === name);
        if (info === undefined) throw new Refusal(ENOENT, `mon.${name} does not exist in monmap`);
        if (rank < 0 || rank >= map.mons.length)
          throw new Refusal(EINVAL, `ranks go from 0 to ${map.mons.length - 1}, not ${rank}`);
        draft.setMonMap(changedMap(map, draft.now, map.mons.filter((each) => each !== info).toSpliced(rank, 0, info)));
      });
      return {};
    },
  },
  {
    signature: 'mon set-weight name=name,type=CephString name=weight,type=CephInt,range=0|65535',
    help: 'set how often clients choose a mon',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const weight = args.number('weight');
      await mon.update((draft) => {
        const map = draft.state.monmap;
        if (map.mons.every((info) => info.name !== name)) throw new Refusal(ENOENT, `mon.${name} does not exist`);
        const mons = map.mons.map((info) => (info.name === name ? { ...info, weight } : info));
        draft.setMonMap(changedMap(map, draft.now, mons));
      });
      return {};
    },
  },
  {
    signature: 'mon enable-msgr2',
    help: 'let every mon be reached by the second protocol: they are',
    module: 'mon',
    perm: 'rw',
    handler: () => ({}),
  },
  {
    signature: 'mon feature set name=feature_name,type=CephString name=yes_i_really_mean_it,type=CephBool,req=false',
    help: 'set a feature of the map: every mon has all of them',
    module: 'mon',
    perm: 'rw',
    handler: (_context, args) => {
      const name = args.text('feature_name');
      if (monFeatureNames.every(([, known]) => known !== name)) throw new Refusal(ENOENT, `unknown feature '${name}'`);
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          `please specify '--yes-i-really-mean-it' if you really, **really** want to set feature '${name}' in the monmap.`,
        );
      return { status: `setting feature '${name}'` };
    },
  },
  {
    signature: 'time-sync-status',
    help: 'show how far the clocks of the mons are apart',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const timechecks = { epoch: electionEpoch(mon), round: 0, round_status: 'finished' };
      const skews = mon.clockSkews();
      if (skews.length === 0) return structured({ timechecks }, format);
      const status = new Map<string, Json>(
        skews.map(({ name, skewMs, latencyMs, bad }) => [
          name,
          { skew: skewMs / 1000, latency: latencyMs / 1000, health: bad ? 'HEALTH_WARN' : 'HEALTH_OK' },
        ]),
      );
      return structured({ time_skew_status: status, timechecks }, format);
    },
  },
  {
    signature: 'mon_status',
    help: 'show the state of this mon',
    module: 'mon',
    perm: 'r',
    flags: FLAG_TELL,
    handler: ({ mon }, _args, format) => {
      const { names, ranks, sinceMs } = mon.inQuorum;
      const state = mon.quorum.leads ? 'leader' : mon.quorum.serves ? 'peon' : 'probing';
      return structured(
        {
          name: mon.name,
          rank: mon.rank,
          state,
          election_epoch: electionEpoch(mon),
          quorum: ranks,
          quorum_age: Math.floor((mon.clock.now() - sinceMs) / 1000),
          outside_quorum: mon.state.monmap.mons.map(({ name }) => name).filter((name) => !names.includes(name)),
          extra_probe_peers: [],
          sync_provider: [],
          monmap: monMapJson(mon.state.monmap),
        },
        format,
      );
    },
  },
];
