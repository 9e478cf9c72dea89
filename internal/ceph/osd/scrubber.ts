import type { Timer } from '../../base/clock.ts';
import { type UTime, utimeFromMs } from '../wire/encoding.ts';
import { LOG_DEBUG, LOG_ERROR, LOG_WARN } from '../wire/messages/log.ts';
import {
  PG_ACTIVE,
  PG_CLEAN,
  PG_DEEP_SCRUB,
  PG_FAILED_REPAIR,
  PG_INCONSISTENT,
  PG_REPAIR,
  PG_SCRUBBING,
} from '../wire/messages/osd_mgr.ts';
import { MOSDRepScrub, MOSDRepScrubMap, MOSDScrubReserve, type ScrubObject } from '../wire/messages/osd_scrub.ts';
import { type HObject, hobjectMax, hobjectMin, SNAP_HEAD } from '../wire/types.ts';
import { digestsToNote, writeDigests } from './digest-update.ts';
import { MAP_NODEEP_SCRUB, MAP_NOSCRUB } from './map-view.ts';
import { decodeObjectInfo, infoXattr } from './object-info.ts';
import { objectId, objectKey } from './object-key.ts';
import type { OpEngine } from './op-engine.ts';
import { shardRules } from './ec/shard-rules.ts';
import type { PgCore } from './pg-core.ts';
import type { Recovery } from './recovery.ts';
import { compareMaps, type Mend, OBJECT, type ScrubFindings, SHARD } from './scrub-compare.ts';
import type { ScrubRecord } from './scrub-list.ts';
import { chunkEnd, scrubMap } from './scrub-map.ts';
import { isLargeOmap, type SumsSeen, ScrubSums } from './scrub-sums.ts';

/** How long a scrub waits for objects that are being recovered before it looks again, and how often. */
const missingWaitMs = 200;
const missingWaitsMax = 300;
/** How much longer ago than asked for a scrub is made to look by `makeDue`, in seconds. */
const dueMarginSec = 100;
/** Members that have not answered by then are asked again later. */
const reserveWaitMs = 30_000;
/** Findings that are remembered for `rados list-inconsistent-obj`; all of them are counted. */
const maxRemembered = 10_000;

/** What a scrub is to do. */
export interface ScrubTask {
  deep: boolean;
  /** Copies that are not right are replaced with one that is. */
  repair: boolean;
  /** An operator wants it: flags and times do not hold it back. */
  forced: boolean;
}

export interface ScrubHooks {
  /** The scrub is over, or could not get its places: another may begin. */
  ended(): void;
  /** History and sums are to be told to the members. */
  shareInfo(): void;
}

interface Chunk {
  number: number;
  begin: HObject;
  end: HObject;
  lastKey: Uint8Array;
  firstKey: Uint8Array;
  phase: 'quiescing' | 'reading';
  maps: Map<number, readonly ScrubObject[]>;
  waiters: (() => void)[];
}

/**
 * Scrubs one PG (`PgScrubber`): the primary takes a place on every member, then goes through the PG chunk by chunk. Writes to the chunk wait, or make it
 * start over; every member lists what it holds of it, and the lists are compared. Also the members' side.
 */
export class Scrubber {
  readonly #core: PgCore;
  readonly #engine: OpEngine;
  readonly #recovery: Recovery;
  readonly #hooks: ScrubHooks;
  #generation = 0;
  #attempt = 0;
  #task: ScrubTask | undefined;
  /** Members asked for a place, and those that have not answered. */
  #asked: number[] = [];
  readonly #ungranted = new Set<number>();
  #localSlot: (() => void) | undefined;
  #timer: Timer | undefined;
  #position: HObject = hobjectMin;
  #chunk: Chunk | undefined;
  #chunkNumber = 0;
  #chunkObjects = 0;
  #preemptions = 0;
  #missingWaits = 0;
  /** Objects that recovery changed while they were read. */
  readonly #disturbed = new Set<string>();
  /** Copies that are being replaced. */
  #mended = 0;
  #shallowErrors = 0;
  #deepErrors = 0;
  #sums = new ScrubSums();
  #found: { objects: ScrubFindings['objects']; snapsets: ScrubFindings['snapsets'] } = { objects: [], snapsets: [] };
  /** A repair was made: the deep scrub that follows tells whether it helped. */
  #checkRepair = false;
  /** What an operator asked for and has not begun. */
  wanted: ScrubTask | undefined;
  /** What the last scrub of this interval found. */
  record: ScrubRecord | undefined;
  /** Drawn anew after each scrub. */
  draw: number;
  /** As a member: our place is taken for this attempt of the primary. */
  #remoteSlot: { attempt: number; release: () => void } | undefined;
  #repScrub = 0;

  constructor(core: PgCore, engine: OpEngine, recovery: Recovery, hooks: ScrubHooks) {
    this.#core = core;
    this.#engine = engine;
    this.#recovery = recovery;
    this.#hooks = hooks;
    this.draw = core.env.random.float();
  }

  /** Reserving or scrubbing. */
  get busy(): boolean {
    return this.#task !== undefined;
  }
  get task(): ScrubTask | undefined {
    return this.#task;
  }
  get holdsRemoteSlot(): boolean {
    return this.#remoteSlot !== undefined;
  }
  /** Where it is, for `ceph pg query`. */
  get position(): HObject | undefined {
    return this.#core.hasState(PG_SCRUBBING) ? this.#position : undefined;
  }

  /** A new interval: nothing of a scrub in the old one counts. Requests of operators stay. */
  reset(): void {
    this.#generation++;
    const task = this.#task;
    if (task?.forced === true && this.#core.isPrimary) this.wanted ??= task;
    if (!this.#core.isPrimary) this.wanted = undefined;
    this.#clear();
    this.record = undefined;
    this.#checkRepair = false;
    this.#remoteSlot?.release();
    this.#remoteSlot = undefined;
    this.#repScrub++;
  }

  #clear(): void {
    this.#chunk = undefined;
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#task = undefined;
    this.#asked = [];
    this.#ungranted.clear();
    this.#localSlot?.();
    this.#localSlot = undefined;
    this.#disturbed.clear();
    this.#core.clearState(PG_SCRUBBING);
    this.#core.clearState(PG_DEEP_SCRUB);
    this.#core.clearState(PG_REPAIR);
  }

  // --- places ------------------------------------------------------------------------------------------------------------------

  /** Begins: takes our own place and asks the members for theirs. False: this OSD has none free. */
  begin(task: ScrubTask): boolean {
    const core = this.#core;
    const slot = core.env.scrubSlot();
    if (slot === undefined) return false;
    this.#localSlot = slot;
    this.#task = task;
    this.wanted = undefined;
    this.#asked = [...core.members];
    for (const osd of this.#asked) this.#ungranted.add(osd);
    const attempt = ++this.#attempt;
    for (const osd of this.#asked) core.env.send(osd, MOSDScrubReserve, { ...core.head(), op: 'request', attempt });
    if (this.#asked.length === 0) this.#start();
    else this.#timer = core.env.clock.after(reserveWaitMs, () => this.#ungranted.size > 0 && this.#abort());
    return true;
  }

  onReserve(from: number, m: MOSDScrubReserve): void {
    const core = this.#core;
    switch (m.op) {
      case 'request': {
        this.#remoteSlot?.release();
        this.#remoteSlot = undefined;
        const release = core.env.scrubSlot();
        if (release !== undefined) this.#remoteSlot = { attempt: m.attempt, release };
        const op = release === undefined ? 'reject' : 'grant';
        core.env.send(from, MOSDScrubReserve, { ...core.head(), op, attempt: m.attempt });
        return;
      }
      case 'release':
        if (this.#remoteSlot?.attempt !== m.attempt) return;
        this.#remoteSlot.release();
        this.#remoteSlot = undefined;
        this.#repScrub++;
        this.#hooks.ended();
        return;
      case 'grant':
        if (m.attempt !== this.#attempt || this.#task === undefined || !this.#ungranted.delete(from)) return;
        if (this.#ungranted.size === 0) this.#start();
        return;
      case 'reject':
        if (m.attempt !== this.#attempt || this.#task === undefined || !this.#ungranted.has(from)) return;
        core.env.log.debug('no place to scrub', { pg: core.text, osd: from });
        this.#abort();
        return;
    }
  }

  #releaseMembers(): void {
    const core = this.#core;
    for (const osd of this.#asked)
      core.env.send(osd, MOSDScrubReserve, { ...core.head(), op: 'release', attempt: this.#attempt });
  }

  /** Gives it up for now; what an operator wanted stays wanted. */
  #abort(): void {
    const task = this.#task;
    if (task?.forced === true) this.wanted ??= task;
    if (this.#chunk !== undefined) this.#endChunk(this.#chunk);
    this.#releaseMembers();
    this.#clear();
    this.#hooks.ended();
  }

  // --- the primary's walk ------------------------------------------------------------------------------------------------------

  #word(): string {
    const task = this.#task!;
    return task.repair ? 'repair' : task.deep ? 'deep-scrub' : 'scrub';
  }

  #start(): void {
    const core = this.#core;
    const task = this.#task!;
    core.setState(PG_SCRUBBING);
    if (task.deep) core.setState(PG_DEEP_SCRUB);
    if (task.repair) core.setState(PG_REPAIR);
    core.env.clusterLog(LOG_DEBUG, `${core.text} ${this.#word()} starts`);
    this.#position = hobjectMin;
    this.#mended = 0;
    this.#shallowErrors = 0;
    this.#deepErrors = 0;
    this.#found = { objects: [], snapsets: [] };
    this.#sums = new ScrubSums();
    this.#preemptions = 0;
    this.#missingWaits = 0;
    this.#chunkObjects = core.env.options().scrubChunkMax;
    this.#later(0);
  }

  #later(delayMs: number): void {
    this.#timer?.cancel();
    const generation = this.#generation;
    this.#timer = this.#core.env.clock.after(delayMs, () => {
      if (generation === this.#generation && this.#task !== undefined) this.#nextChunk();
    });
  }

  /** An operator's flags, set meanwhile, end what is not forced. */
  #forbidden(): boolean {
    const { map, id } = this.#core;
    const task = this.#task!;
    const pool = map.pool(id.pool);
    if (pool === undefined || !this.#core.hasState(PG_ACTIVE)) return true;
    if (task.forced) return false;
    return (
      map.hasFlag(MAP_NOSCRUB) || pool.noScrub || (task.deep && (map.hasFlag(MAP_NODEEP_SCRUB) || pool.noDeepScrub))
    );
  }

  #anyMissing(): boolean {
    const core = this.#core;
    if (core.meta.missing.size > 0) return true;
    return core.members.some((osd) => core.peers.get(osd)!.missing!.size > 0);
  }

  #nextChunk(): void {
    const core = this.#core;
    if (this.#forbidden()) {
      this.#abort();
      return;
    }
    if (this.#anyMissing()) {
      // Copies that recovery is about to change would only be compared for nothing.
      if (++this.#missingWaits > missingWaitsMax) this.#abort();
      else this.#later(missingWaitMs);
      return;
    }
    this.#missingWaits = 0;
    const begin = this.#position;
    const end = chunkEnd(core.env.store, core.meta.cid, core.id.pool, begin, this.#chunkObjects) ?? hobjectMax;
    const chunk: Chunk = {
      number: ++this.#chunkNumber,
      begin,
      end,
      firstKey: objectKey(begin),
      lastKey: objectKey(end),
      phase: 'quiescing',
      maps: new Map(),
      waiters: [],
    };
    this.#chunk = chunk;
    this.#disturbed.clear();
    // Writes that were let in before the chunk was closed still run: they end first.
    this.#engine.quiesce(
      (oid) => this.#inChunk(chunk, oid),
      () => {
        if (this.#chunk === chunk) this.#readChunk(chunk);
      },
    );
  }

  #inChunk(chunk: Chunk, oid: HObject): boolean {
    const key = objectKey(oid);
    return Buffer.compare(key, chunk.firstKey) > 0 && Buffer.compare(key, chunk.lastKey) <= 0;
  }

  #readChunk(chunk: Chunk): void {
    const core = this.#core;
    const { deep } = this.#task!;
    chunk.phase = 'reading';
    // Behind all writes so far in the stream to each member, and before all later ones to this chunk.
    for (const osd of core.members)
      core.env.send(osd, MOSDRepScrub, {
        ...core.head(),
        chunk: chunk.number,
        begin: chunk.begin,
        end: chunk.end,
        deep,
      });
    const over = (): boolean => this.#chunk !== chunk;
    scrubMap(
      core.env.store,
      core.meta.cid,
      core.id.pool,
      { begin: chunk.begin, end: chunk.end, deep, shard: core.erasure },
      over,
      (b) => core.env.recycle(b),
    ).then(
      (objects) => {
        if (objects !== undefined) this.#takeMap(chunk, core.env.whoami, objects);
      },
      (error: unknown) => {
        core.env.log.error('a chunk could not be read', { pg: core.text, error });
        if (!over()) this.#abort();
      },
    );
  }

  /** Whether a write of the object may go on; `ready` is called later when not (true: it may now). */
  writable(oid: HObject, ready: () => void): boolean {
    const chunk = this.#chunk;
    if (chunk === undefined || !this.#inChunk(chunk, oid)) return true;
    chunk.waiters.push(ready);
    const options = this.#core.env.options();
    if (chunk.phase === 'reading' && this.#preemptions < options.scrubMaxPreemptions) {
      // Clients go first: the chunk starts over, smaller, once their writes are in.
      this.#preemptions++;
      this.#chunkObjects = Math.max(options.scrubChunkMin, this.#chunkObjects >> 1);
      this.#endChunk(chunk);
      this.#later(1);
    }
    return false;
  }

  /** Recovery replaced an object: what was read of it may be neither the old nor the new one. */
  objectChanged(oid: HObject): void {
    if (this.#chunk !== undefined) this.#disturbed.add(objectId(oid));
  }

  /** A write changed the PG's sums by `delta`: of objects that were seen already it counts for the scrub, too. */
  sumsChanged(oid: HObject, delta: SumsSeen): void {
    if (this.#task === undefined || !this.#core.hasState(PG_SCRUBBING)) return;
    if (Buffer.compare(objectKey(oid), objectKey(this.#position)) <= 0) this.#sums.addDelta(delta);
  }

  #endChunk(chunk: Chunk): void {
    this.#chunk = undefined;
    // Not from inside the request that made it end.
    const { waiters } = chunk;
    const generation = this.#generation;
    this.#core.env.clock.after(0, () => {
      if (generation === this.#generation) for (const ready of waiters) ready();
    });
  }

  #takeMap(chunk: Chunk, osd: number, objects: readonly ScrubObject[]): void {
    if (this.#chunk !== chunk) return;
    chunk.maps.set(osd, objects);
    const core = this.#core;
    if (chunk.maps.size < core.members.length + 1) return;
    const missing = (oid: HObject): boolean =>
      core.meta.missing.has(oid) || core.members.some((member) => core.peers.get(member)!.missing!.has(oid));
    const { digests } = this.#compare(chunk, (oid) => this.#disturbed.has(objectId(oid)) || missing(oid));
    this.#position = chunk.end;
    this.#preemptions = 0;
    const options = core.env.options();
    this.#chunkObjects = options.scrubChunkMax;
    this.#endChunk(chunk);
    const { repair } = this.#task!;
    const toNote = digestsToNote(digests, repair, core.env.clock.now(), options.deepScrubUpdateDigestMinAge);
    const attempt = this.#attempt;
    writeDigests(this.#engine, core.meta.cid, toNote, () => {
      if (attempt !== this.#attempt || this.#task === undefined) return;
      if (chunk.end.max) this.#finish();
      else this.#later(options.scrubSleep * 1000);
    });
  }

  #compare(chunk: Chunk, skip: (oid: HObject) => boolean): ScrubFindings {
    const core = this.#core;
    const findings = compareMaps(chunk.maps, core.env.whoami, skip, core.code && shardRules(core.code));
    this.#shallowErrors += findings.shallowErrors;
    this.#deepErrors += findings.deepErrors;
    for (const found of findings.objects) {
      core.env.clusterLog(
        LOG_ERROR,
        `${core.text} ${objectText(found.oid)} : ${describe(found.errors, found.shardErrors)}`,
      );
      if (this.#found.objects.length < maxRemembered) this.#found.objects.push(slim(found));
    }
    for (const found of findings.snapsets) {
      core.env.clusterLog(
        LOG_ERROR,
        `${core.text} ${objectText(found.oid)} : ${found.missing.length} missing clone(s), ${found.extra.length} unexpected clone(s)`,
      );
      if (this.#found.snapsets.length < maxRemembered) this.#found.snapsets.push(found);
    }
    const options = core.env.options();
    for (const object of findings.kept) {
      const bytes = object.xattrs.get(infoXattr);
      if (bytes !== undefined) this.#sums.addObject(object, decodeObjectInfo(bytes), options);
      if (isLargeOmap(object, options))
        core.env.clusterLog(
          LOG_WARN,
          `Large omap object found. Object: ${objectText(object.oid)} PG: ${core.text} Key count: ${object.omapKeys} Size (bytes): ${object.omapBytes}`,
        );
    }
    if (this.#task!.repair && findings.mends.length > 0) this.#mend(findings.mends);
    if ([...chunk.maps.values()].some((objects) => objects.some(({ oid }) => skip(oid)))) this.#sums.incomplete = true;
    return findings;
  }

  /** Before the chunk opens: the versions are what was compared. */
  #mend(mends: readonly Mend[]): void {
    this.#mended += mends.length;
    this.#recovery.mend(mends);
  }

  #finish(): void {
    const core = this.#core;
    const { info, meta } = core;
    const task = this.#task!;
    const word = this.#word();
    const { sums } = info;
    const wrongSums = this.#sums.difference(sums);
    if (wrongSums !== undefined && !this.#sums.incomplete) {
      if (!info.sumsEstimated) core.env.clusterLog(LOG_ERROR, `${core.text} ${word} : stat mismatch, ${wrongSums}`);
      // They only count; what they count is here.
      this.#sums.applyTo(sums);
    }
    if (!this.#sums.incomplete) info.sumsEstimated = false;
    const errors = this.#shallowErrors + this.#deepErrors;
    const now = utimeFromMs(core.env.clock.now());
    const { history } = info;
    history.lastScrub = info.lastUpdate;
    history.lastScrubStamp = now;
    if (task.deep) {
      history.lastDeepScrub = info.lastUpdate;
      history.lastDeepScrubStamp = now;
    }
    if (errors === 0 && (task.deep || sums.deepScrubErrors === 0)) history.lastCleanScrubStamp = now;
    const options = core.env.options();
    // While the chunks are open again objects change: they are found anew.
    const repairNext =
      !task.repair &&
      task.deep &&
      errors > 0 &&
      !this.#checkRepair &&
      options.scrubAutoRepair &&
      errors <= options.scrubAutoRepairNumErrors;
    core.env.clusterLog(
      errors > 0 ? LOG_ERROR : LOG_DEBUG,
      errors > 0
        ? `${core.text} ${word} ${errors} errors${task.repair ? `, ${this.#mended} objects repaired` : ''}`
        : `${core.text} ${word} ok`,
    );
    sums.shallowScrubErrors = this.#shallowErrors;
    if (task.deep) {
      sums.deepScrubErrors = this.#deepErrors;
      sums.largeOmapObjects = this.#sums.largeOmapObjects;
      sums.omapBytes = this.#sums.omapBytes;
      sums.omapKeys = this.#sums.omapKeys;
    }
    sums.scrubErrors = sums.shallowScrubErrors + sums.deepScrubErrors;
    if (sums.scrubErrors > 0) core.setState(PG_INCONSISTENT);
    else {
      core.clearState(PG_INCONSISTENT);
      core.clearState(PG_FAILED_REPAIR);
    }
    const failed = sums.scrubErrors > 0 && (this.#checkRepair || (task.repair && this.#mended === 0));
    if (failed) core.setState(PG_FAILED_REPAIR);
    this.record = this.#found;
    this.draw = core.env.random.float();
    meta.touchInfo();
    core.flush();
    this.#checkRepair = false;
    this.#releaseMembers();
    this.#clear();
    this.#hooks.shareInfo();
    core.env.reportSoon();
    if (task.repair && this.#mended > 0) {
      this.#checkRepair = true;
      this.wanted ??= { deep: true, repair: false, forced: true };
    } else if (repairNext) this.wanted ??= { deep: true, repair: true, forced: true };
    this.#hooks.ended();
  }

  // --- a member ----------------------------------------------------------------------------------------------------------------

  onRepScrub(from: number, m: MOSDRepScrub): void {
    const core = this.#core;
    const mine = ++this.#repScrub;
    const { interval } = core;
    const over = (): boolean => this.#repScrub !== mine || core.interval !== interval;
    scrubMap(core.env.store, core.meta.cid, core.id.pool, { ...m, shard: core.erasure }, over, (bytes) =>
      core.env.recycle(bytes),
    ).then(
      (objects) => {
        if (objects !== undefined && !over())
          core.env.send(from, MOSDRepScrubMap, { ...core.head(), chunk: m.chunk, objects });
      },
      (error: unknown) => {
        core.env.log.error('a chunk could not be read', { pg: core.text, error });
      },
    );
  }

  onRepScrubMap(from: number, m: MOSDRepScrubMap): void {
    const chunk = this.#chunk;
    if (chunk === undefined || chunk.number !== m.chunk || chunk.phase !== 'reading') return;
    if (this.#core.members.includes(from)) this.#takeMap(chunk, from, m.objects);
  }

  /** Every few seconds: an error of the last scrub shows in the state, also on a primary that did not scrub itself. */
  showErrors(): void {
    const core = this.#core;
    if (!core.isPrimary || !core.hasState(PG_ACTIVE)) return;
    if (core.info.sums.scrubErrors > 0) core.setState(PG_INCONSISTENT);
    else core.clearState(PG_INCONSISTENT);
  }

  /** Makes the next scrub due now: the last one counts as `seconds` ago (0: as long ago as no scrub may be). Gives the time that counts. */
  makeDue(deep: boolean, seconds: number): UTime {
    const core = this.#core;
    const options = core.env.options();
    const pool = core.map.pool(core.id.pool);
    const own = deep ? pool?.deepScrubSec : pool?.scrubMaxSec;
    const usual = deep ? options.deepScrubInterval : options.scrubMaxInterval;
    const interval = own !== undefined && own > 0 ? own : usual;
    const stamp = utimeFromMs(core.env.clock.now() - ((seconds > 0 ? seconds : interval) + dueMarginSec) * 1000);
    const { history } = core.info;
    history.lastScrubStamp = stamp;
    if (deep) history.lastDeepScrubStamp = stamp;
    core.meta.touchInfo();
    core.flush();
    return stamp;
  }

  /** Whether the PG is in a state in which it can be scrubbed. */
  get possible(): boolean {
    const core = this.#core;
    return core.isPrimary && core.hasState(PG_ACTIVE) && core.hasState(PG_CLEAN) && !this.busy;
  }
}

/** Without the values of user xattrs where these are the same everywhere: they are only shown where they differ. */
function slim(found: ScrubFindings['objects'][number]): ScrubFindings['objects'][number] {
  if ((found.errors & (OBJECT.attrNameMismatch | OBJECT.attrValueMismatch)) !== 0) return found;
  const shards = found.shards.map((shard) => {
    if (shard.object === undefined) return shard;
    const xattrs = new Map([...shard.object.xattrs].filter(([name]) => !name.startsWith('_')));
    return { ...shard, object: { ...shard.object, xattrs } };
  });
  return { ...found, shards };
}

function objectText(oid: HObject): string {
  const snap = oid.snap === SNAP_HEAD ? 'head' : oid.snap.toString(16);
  return `${oid.nspace === '' ? '' : `${oid.nspace}/`}${oid.name}:${snap}`;
}

function describe(errors: number, shardErrors: number): string {
  const words: string[] = [];
  for (const [name, bit] of [...Object.entries(OBJECT), ...Object.entries(SHARD)]) {
    const from = name in OBJECT ? errors : shardErrors;
    if ((from & bit) !== 0) words.push(name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`));
  }
  return words.join(', ');
}
