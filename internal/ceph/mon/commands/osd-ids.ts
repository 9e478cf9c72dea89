import { utf8Text } from '../../../base/bytes.ts';
import type { CryptoKey } from '../../auth/api.ts';
import { cryptoKeyText, parseCryptoKey } from '../../auth/crypto.ts';
import { removeItem } from '../../crush/build.ts';
import { OSD_DESTROYED, OSD_NEW, OSD_OUT } from '../../maps/constants.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { zeroUuid } from '../../maps/osdmap.ts';
import type { Draft } from '../draft.ts';
import { EBUSY, EEXIST, EINVAL, ENOENT, EPERM, Refusal } from '../errno.ts';
import { changeCrush, createOsd, maxOsdId, toggleState } from '../osd/daemons.ts';
import type { CommandContext } from './dispatch.ts';
import { parseOsd } from './lookup.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

const _ids = 'name=ids,type=CephString,n=N';
const sureArg = 'name=yes_i_really_mean_it,type=CephBool,req=false';

/** Removes an id that is down, with its place in CRUSH and its key. */
function purge(draft: Draft, osd: number): void {
  const { osdmap } = draft.state;
  if (osdmap.isUp(osd)) throw new Refusal(EBUSY, `osd.${osd} is not \`down\`.`);
  draft.osdmap((inc, map) => {
    if (map.exists(osd)) {
      toggleState(inc, osd, map.osdState[osd]!);
      inc.newWeight.set(osd, OSD_OUT);
    }
    changeCrush(inc, map, (crush) => {
      if (crush.idOfName(`osd.${osd}`) === undefined) return false;
      removeItem(crush, osd);
      return true;
    });
  });
  draft.setOsdMetadata(osd, undefined);
  for (const name of [`osd.${osd}`]) if (draft.state.auth.entities.has(name)) draft.removeEntity(name);
}

/** Gives an OSD id for a disk: the one that the disk has already, the one asked for, or the lowest free. */
function newOsdId(map: OsdMap, uuid: string, asked: number | undefined): { osd: number; exists: boolean } {
  for (const osd of map.osds())
    if (uuid !== zeroUuid && map.osdUuid[osd] === uuid) {
      if (asked !== undefined && asked !== osd)
        throw new Refusal(EEXIST, `uuid ${uuid} already in use for different id ${osd}`);
      return { osd, exists: true };
    }
  if (asked !== undefined) {
    if (asked > maxOsdId) throw new Refusal(EINVAL, `ids go up to ${maxOsdId}`);
    if (map.exists(asked) && !map.isDestroyed(asked))
      throw new Refusal(EEXIST, `id ${asked} already in use and not destroyed`);
    return { osd: asked, exists: false };
  }
  let osd = 0;
  while (map.exists(osd)) osd++;
  return { osd, exists: false };
}

/** The OSD's key among the secrets that `osd new` reads, `{"cephx_secret": "<base64>"}`; undefined without input. Errors: EINVAL. */
function cephxSecret(input: Uint8Array): CryptoKey | undefined {
  if (input.length === 0) return undefined;
  let secrets: unknown;
  try {
    secrets = JSON.parse(utf8Text(input));
  } catch {
    throw new Refusal(EINVAL, 'osd new: the secrets are no JSON');
  }
  const text = (secrets as { cephx_secret?: unknown } | null)?.cephx_secret;
  if (text === undefined) return undefined;
  try {
    return parseCryptoKey(text as string);
  } catch {
    throw new Refusal(EINVAL, 'osd new: cephx_secret is not a Ceph secret key');
  }
}

/** As upstream's `AuthMonitor::validate_osd_new`: the same again is fine, another key for an OSD that has one is not. */
function giveKey(draft: Draft, osd: number, key: CryptoKey): void {
  const name = `osd.${osd}`;
  const known = draft.state.auth.entities.get(name);
  if (known !== undefined) {
    if (cryptoKeyText(known.key) !== cryptoKeyText(key))
      throw new Refusal(EEXIST, `entity ${name} exists but key does not match`);
    return;
  }
  draft.setEntity(name, { key, caps: { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' } });
}

/** Commands that make and remove OSD ids. */
export const osdIdCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'osd setmaxosd name=newmax,type=CephInt,range=0',
    help: 'set the highest number of OSDs',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const max = args.number('newmax');
      if (max > maxOsdId + 1)
        throw new Refusal(EINVAL, `cannot set max_osd to ${max} which is > conf.mon_max_osd (${maxOsdId + 1})`);
      await mon.update((draft) => {
        draft.osdmap((inc, map) => {
          for (let osd = max; osd < map.maxOsd; osd++)
            if (map.exists(osd))
              throw new Refusal(
                EBUSY,
                `cannot shrink max_osd to ${max} because osd.${osd} (and possibly others) still in use`,
              );
          inc.newMaxOsd = max;
        });
      });
      return { status: `set new max_osd = ${max}` };
    },
  },
  {
    signature: `osd lost name=id,type=CephOsdName ${sureArg}`,
    help: 'say that the data of an OSD is gone for good',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          'are you SURE?  this might mean real, permanent data loss.  pass --yes-i-really-mean-it if you really do.',
        );
      const osd = parseOsd(args.text('id'));
      const epoch = await mon.update((draft) => {
        const { osdmap } = draft.state;
        if (!osdmap.exists(osd) || osdmap.isUp(osd)) return undefined;
        return draft.osdmap((inc, map) => {
          inc.newLost.set(osd, map.infoOf(osd).downAt);
        }).epoch;
      });
      if (epoch === undefined) throw new Refusal(EBUSY, `osd.${osd} is not down or doesn't exist`);
      return { status: `marked osd lost in epoch ${mon.state.osdmap.infoOf(osd).downAt}` };
    },
  },
  {
    signature: 'osd new name=uuid,type=CephUUID,req=true name=id,type=CephOsdName,req=false',
    help: 'give a disk an id; reads keys from the input as JSON',
    module: 'osd',
    perm: 'rw',
    handler: async ({ input, mon }, args, format) => {
      const uuid = args.text('uuid').toLowerCase();
      const id = args.optional('id');
      const key = cephxSecret(input);
      const osd = await mon.update((draft) => {
        const found = newOsdId(draft.state.osdmap, uuid, id === undefined ? undefined : parseOsd(id));
        if (key !== undefined) giveKey(draft, found.osd, key);
        if (!found.exists)
          draft.osdmap((inc, map) => {
            if (!map.exists(found.osd)) createOsd(inc, map, found.osd, uuid);
            else {
              toggleState(inc, found.osd, OSD_DESTROYED | ((map.osdState[found.osd]! & OSD_NEW) === 0 ? OSD_NEW : 0));
              inc.newUuid.set(found.osd, uuid);
            }
          });
        return found.osd;
      });
      return wantsJson(format) ? structured({ osdid: osd }, format) : { output: `${osd}\n` };
    },
  },
  {
    signature: 'osd create name=uuid,type=CephUUID,req=false name=id,type=CephOsdName,req=false',
    help: 'make an OSD id',
    module: 'osd',
    perm: 'rw',
    flags: 4,
    handler: async ({ mon }, args, format) => {
      const uuid = args.optional('uuid')?.toLowerCase() ?? zeroUuid;
      const id = args.optional('id');
      const osd = await mon.update((draft) => {
        const found = newOsdId(draft.state.osdmap, uuid, id === undefined ? undefined : parseOsd(id));
        if (!found.exists) draft.osdmap((inc, map) => createOsd(inc, map, found.osd, uuid));
        return found.osd;
      });
      return wantsJson(format) ? structured({ osdid: osd }, format) : { output: `${osd}\n` };
    },
  },
  {
    signature: `osd destroy-actual name=id,type=CephOsdName ${sureArg}`,
    help: 'mark an OSD destroyed; its id stays for a new disk',
    module: 'osd',
    perm: 'rw',
    flags: 32,
    handler: async ({ mon }, args) => {
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          "Are you SURE?  Did you verify with 'ceph osd safe-to-destroy'?  This will mean real, permanent data loss, as well as deletion of cephx and lockbox keys. Pass --yes-i-really-mean-it if you really do.",
        );
      const osd = parseOsd(args.text('id'));
      await mon.update((draft) => {
        const { osdmap } = draft.state;
        if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        if (osdmap.isUp(osd)) throw new Refusal(EBUSY, `osd.${osd} is still \`up\`.`);
        draft.osdmap((inc, map) => {
          const state = map.osdState[osd]!;
          if ((state & OSD_DESTROYED) !== 0) return false;
          toggleState(inc, osd, OSD_DESTROYED | ((state & OSD_NEW) === 0 ? OSD_NEW : 0));
          inc.newUuid.set(osd, zeroUuid);
          return true;
        });
        if (draft.state.auth.entities.has(`osd.${osd}`)) draft.removeEntity(`osd.${osd}`);
      });
      return { status: `destroyed osd.${osd}` };
    },
  },
  {
    signature: `osd purge-actual name=id,type=CephOsdName ${sureArg}`,
    help: 'forget an OSD, its key and its place',
    module: 'osd',
    perm: 'rw',
    flags: 32,
    handler: async ({ mon }, args) => {
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          "Are you SURE?  Did you verify with 'ceph osd safe-to-destroy'?  This will mean real, permanent data loss, as well as deletion of cephx and lockbox keys. Pass --yes-i-really-mean-it if you really do.",
        );
      const osd = parseOsd(args.text('id'));
      await mon.update((draft) => purge(draft, osd));
      return { status: `purged osd.${osd}` };
    },
  },
  {
    signature: `osd purge-new name=id,type=CephOsdName ${sureArg}`,
    help: 'forget an OSD that was never used',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const osd = parseOsd(args.text('id'));
      await mon.update((draft) => {
        const { osdmap } = draft.state;
        if (osdmap.exists(osd) && (osdmap.osdState[osd]! & OSD_NEW) === 0)
          throw new Refusal(EPERM, `osd.${osd} is not new: it may hold data`);
        if (osdmap.exists(osd)) purge(draft, osd);
      });
      return { status: `purged osd.${osd}` };
    },
  },
];
