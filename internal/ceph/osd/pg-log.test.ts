import { describe, expect, test } from 'vitest';
import type { LogEntry, LogOp } from '../wire/messages/osd_pg.ts';
import { compareHObject, eversionText, hobjectMax, SNAP_HEAD, type EVersion, type HObject } from '../wire/types.ts';
import { MissingSet } from './missing.ts';
import { judgeReplica, mergeLog, PgLog } from './pg-log.ts';

const version = (text: string): EVersion => {
  const [epoch, number] = text.split("'").map(Number);
  return { epoch: epoch!, version: number! };
};
const object = (name: string): HObject => ({
  key: '',
  name,
  snap: SNAP_HEAD,
  hash: name.charCodeAt(0),
  max: false,
  nspace: '',
  pool: 1,
});

/** `10'5 a 10'2`: object a becomes version 10'5, it was 10'2; `- a`: deleted; prior 0'0 when not given. */
function entries(...lines: string[]): LogEntry[] {
  return lines.map((line) => {
    const words = line.split(' ');
    const deleted = words[1] === '-';
    const [name, prior] = words.slice(deleted ? 2 : 1);
    return {
      op: (deleted ? 'delete' : 'modify') as LogOp,
      oid: object(name!),
      version: version(words[0]!),
      prior: version(prior ?? "0'0"),
      userVersion: 0,
      reqid: undefined,
      mtime: { sec: 0, nsec: 0 },
      returnCode: 0,
      returns: undefined,
    };
  });
}

function log(tail: string, ...lines: string[]): PgLog {
  const made = new PgLog();
  const list = entries(...lines);
  made.reset({ tail: version(tail), head: list.at(-1)?.version ?? version(tail), entries: list });
  return made;
}

function missingText(missing: MissingSet): string[] {
  return missing
    .list()
    .map((item) => `${item.oid.name} needs ${eversionText(item.need)} has ${eversionText(item.have)}`)
    .sort();
}

describe('taking an authoritative log over', () => {
  test('new entries make objects missing, deletions are applied', () => {
    const ours = log("1'1", "2'2 a", "2'3 b");
    const missing = new MissingSet();
    const theirs = log("1'1", "2'2 a", "2'3 b", "3'4 a 2'2", "3'5 - b 2'3", "3'6 c");
    const result = mergeLog(ours, missing, theirs.segment(version("2'3")), hobjectMax);
    expect(result.added.map((e) => eversionText(e.version))).toEqual(["3'4", "3'5", "3'6"]);
    expect(result.rewoundTo).toBeUndefined();
    expect(result.remove.map((o) => o.name)).toEqual(['b']);
    expect(missingText(missing)).toEqual(["a needs 3'4 has 2'2", "c needs 3'6 has 0'0"]);
    expect(eversionText(ours.head)).toBe("3'6");
  });

  test('an entry that only we have is taken back: the object goes and is needed in its version before', () => {
    const ours = log("1'1", "2'2 a", "2'3 b", "2'4 a 2'2");
    const missing = new MissingSet();
    const theirs = log("1'1", "2'2 a", "2'3 b", "3'4 c");
    const result = mergeLog(ours, missing, theirs.segment(version("2'4")), hobjectMax);
    expect(eversionText(result.rewoundTo!)).toBe("2'3");
    expect(result.remove.map((o) => o.name)).toEqual(['a']);
    expect(missingText(missing)).toEqual(["a needs 2'2 has 0'0", "c needs 3'4 has 0'0"]);
    expect(eversionText(ours.latest(object('a'))!.version)).toBe("2'2");
  });

  test('an object that only we made is removed', () => {
    const ours = log("1'1", "2'2 a", "2'3 new");
    const missing = new MissingSet();
    const result = mergeLog(ours, missing, log("1'1", "2'2 a").segment(version("2'3")), hobjectMax);
    expect(result.remove.map((o) => o.name)).toEqual(['new']);
    expect(missing.size).toBe(0);
    expect(eversionText(ours.head)).toBe("2'2");
  });

  test('an object that both changed is needed as the authority has it', () => {
    const ours = log("1'1", "2'2 a", "2'3 a 2'2");
    const missing = new MissingSet();
    const theirs = log("1'1", "2'2 a", "3'3 a 2'2");
    const result = mergeLog(ours, missing, theirs.segment(version("2'3")), hobjectMax);
    expect(result.remove.map((o) => o.name)).toEqual(['a']);
    expect(missingText(missing)).toEqual(["a needs 3'3 has 0'0"]);
  });

  test('an object that was missing in the version taken back, and is here in the one before, is not missing', () => {
    const ours = log("1'1", "2'2 a", "2'3 a 2'2");
    const missing = new MissingSet();
    missing.set(object('a'), version("2'3"), version("2'2"));
    const result = mergeLog(ours, missing, log("1'1", "2'2 a").segment(version("2'3")), hobjectMax);
    expect(result.remove).toEqual([]);
    expect(missing.size).toBe(0);
  });

  test('what lies behind lastBackfill is not missing: it is compared later', () => {
    const ours = log("1'1", "2'2 a");
    const missing = new MissingSet();
    const theirs = log("1'1", "2'2 a", "3'3 b", "3'4 z");
    mergeLog(ours, missing, theirs.segment(version("2'2")), object('b'));
    const reached = ['b', 'z'].filter((name) => compareHObject(object(name), object('b')) <= 0);
    expect(missing.list().map((item) => item.oid.name)).toEqual(reached);
    expect(reached).toEqual(['b']);
  });

  test('a stretch that does not meet our log is refused', () => {
    const ours = log("1'1", "2'2 a");
    expect(() =>
      mergeLog(
        ours,
        new MissingSet(),
        { tail: version("3'5"), head: version("3'6"), entries: entries("3'6 b"), dups: [] },
        hobjectMax,
      ),
    ).toThrow('does not meet');
  });
});

describe("judging a replica's log", () => {
  test('it agrees up to the last entry that both hold; its own entries count against it', () => {
    const ours = log("1'1", "2'2 a", "2'3 b", "3'4 c");
    const missing = new MissingSet();
    const theirs = log("1'1", "2'2 a", "2'3 b", "2'4 a 2'2");
    expect(eversionText(judgeReplica(ours, theirs.segment(), missing, hobjectMax))).toBe("2'3");
    expect(missingText(missing)).toEqual(["a needs 2'2 has 0'0"]);
  });

  test('a replica that is only behind is judged by its head', () => {
    const ours = log("1'1", "2'2 a", "2'3 b", "3'4 c");
    const missing = new MissingSet();
    expect(eversionText(judgeReplica(ours, log("1'1", "2'2 a").segment(), missing, hobjectMax))).toBe("2'2");
    expect(missing.size).toBe(0);
  });
});

describe('the log in memory', () => {
  test('trimming forgets entries, their objects and requests; a rewind finds older entries again', () => {
    const made = log("1'0", "1'1 a", "1'2 b", "1'3 a 1'1", "1'4 b 1'2");
    expect(made.trim(version("1'2")).map((e) => e.version.version)).toEqual([1, 2]);
    expect([made.length, eversionText(made.tail)]).toEqual([2, "1'2"]);
    expect(made.rewind(version("1'3")).map((e) => e.version.version)).toEqual([4]);
    expect(made.latest(object('b'))).toBeUndefined();
    expect(eversionText(made.latest(object('a'))!.version)).toBe("1'3");
    expect([made.holds(version("1'2")), made.holds(version("1'3")), made.holds(version("2'3"))]).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('a stretch begins at an entry that the log really holds', () => {
    const made = log("1'1", "1'2 a", "1'3 b", "2'5 c");
    expect(eversionText(made.segment(version("1'4")).tail)).toBe("1'3");
    expect(eversionText(made.segment(version("1'0")).tail)).toBe("1'1");
    expect(made.segment(version("2'5")).entries).toEqual([]);
  });
});
