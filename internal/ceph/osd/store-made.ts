import { AppError } from '../../base/errors.ts';

/** What is at an OSD's place: nothing; nothing but zeros; its file system (or a directory) without the label of a store; its store. */
export type FoundStore = 'missing' | 'blank' | 'unlabelled' | 'store';

const foundText: Record<Exclude<FoundStore, 'store'>, string> = {
  missing: 'is not there',
  blank: 'is blank',
  unlabelled: 'holds no store',
};

/**
 * Why an OSD must not get a new store where `found` is; undefined when it may, or has one. `made`: a store with the uuid that the mon gave this OSD was opened on this
 * node before. The mon cannot tell an empty store under that uuid from the old one: it would take the OSD in, without the writes that it acknowledged.
 */
export function whyNoNewStore(
  found: FoundStore,
  of: { osd: number; place: string; made: boolean; idsFile: string },
): AppError | undefined {
  if (found === 'store' || !of.made) return undefined;
  return new AppError('DISK', `osd.${of.osd} has its store on ${of.place}, which ${foundText[found]}`, {
    hint:
      `Attach or mount its disk. If it is lost for good: \`ceph osd purge ${of.osd} --yes-i-really-mean-it\`, take the entry "${of.place}" out of ` +
      `${of.idsFile} and start the node again; it then gets a new OSD there.`,
  });
}

/** Why the mon does not take an OSD in with the store that it has, when `known` is the uuid of the one that it had (`OSDMonitor::prepare_boot`). */
export function whyNotTaken({ id, uuid }: { id: number; uuid: string }, known: string | undefined): string | undefined {
  if (known === undefined || known === uuid) return undefined;
  return (
    `the cluster knows osd.${id} by another store (${known}) than the one here (${uuid}). ` +
    `Is that one lost for good? \`ceph osd purge ${id} --yes-i-really-mean-it\`, then \`appliance reload\``
  );
}
