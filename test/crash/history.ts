/**
 * What clients saw, judged: each object is written by one client at a time, in versions 1, 2, 3…; a read must find the newest version that was acknowledged before
 * it began or one that was begun before it ended, and never an older one than a read that had ended before.
 */

/** Versions that remove the object: a read that finds none has seen one of these, or the time before the first write. */
const removes = (version: number): boolean => version % 8 === 0;

interface Write {
  version: number;
  begunNs: bigint;
  ackedNs: bigint | undefined;
}

interface Read {
  /** 0: the object was not there. */
  version: number;
  beganNs: bigint;
  endedNs: bigint;
}

class ObjectHistory {
  /** In the order of their versions, which is that of their beginning. */
  writes: Write[] = [];
  reads: Read[] = [];
  /** What holds for all reads that begin later: the newest version acknowledged or seen when the history was cut. */
  floor = 0;

  tried(): number {
    return this.writes.at(-1)?.version ?? this.floor;
  }
}

/** Collects lines of `model_load.py`; `judge` says what in them cannot have happened on a store that keeps what it acknowledges. */
export class History {
  readonly #objects = new Map<string, ObjectHistory>();
  /** By log object and client: the newest record acknowledged. */
  readonly #appended = new Map<string, Map<string, number>>();
  readonly #wrong: string[] = [];
  acks = 0;
  reads = 0;
  errors: string[] = [];

  /** Versions that may be on their way, by object: where a new process goes on. */
  tried(): Map<string, number> {
    return new Map([...this.#objects].map(([name, object]) => [name, object.tried()]));
  }

  line(text: string): void {
    const [what, name, ...rest] = text.split(' ') as [string, string, ...string[]];
    if (what === 'W')
      this.#object(name).writes.push({ version: Number(rest[0]), begunNs: BigInt(rest[1]!), ackedNs: undefined });
    else if (what === 'A') {
      const write = this.#object(name).writes.findLast(({ version }) => version === Number(rest[0]));
      if (write === undefined) throw new Error(`an answer to a write that was not begun: ${text}`);
      write.ackedNs = BigInt(rest[1]!);
      this.acks++;
    } else if (what === 'R') {
      const [version, began, ended] = rest as [string, string, string];
      this.#object(name).reads.push({ version: Number(version), beganNs: BigInt(began), endedNs: BigInt(ended) });
      this.reads++;
    } else if (what === 'D') this.#wrong.push(`DAMAGED ${name}: ${rest.join(' ')}`);
    else if (what === 'C') {
      const clients = this.#appended.get(name) ?? new Map<string, number>();
      clients.set(rest[0]!, Number(rest[1]));
      this.#appended.set(name, clients);
      this.acks++;
    } else if (what === 'L') this.#log(name, rest[0]!);
    else if (what === 'E') this.errors.push(text);
    else throw new Error(`not a line of model_load.py: ${text}`);
  }

  #object(name: string): ObjectHistory {
    const object = this.#objects.get(name) ?? new ObjectHistory();
    this.#objects.set(name, object);
    return object;
  }

  /** An object that all clients appended to: each record that was acknowledged is there, none twice, those of one client in their order. */
  #log(name: string, text: string): void {
    const newest = new Map<string, number>();
    for (const record of text === '-' ? [] : text.split(',')) {
      const [client, number] = record.split(':') as [string, string];
      const before = newest.get(client);
      if (before !== undefined && Number(number) !== before + 1)
        this.#wrong.push(`WRONG ${name}: record ${number} of client ${client} stands behind ${before}`);
      newest.set(client, Number(number));
    }
    for (const [client, number] of this.#appended.get(name) ?? [])
      if ((newest.get(client) ?? 0) < number)
        this.#wrong.push(
          `LOST ${name}: record ${number} of client ${client}; the newest there is ${newest.get(client)}`,
        );
    this.#appended.delete(name);
  }

  /** Everything wrong so far, while no operation is under way. What has been judged is forgotten, but for what later reads must still see. */
  judge(): string[] {
    for (const [name, object] of this.#objects) this.#judgeObject(name, object);
    return this.#wrong.splice(0);
  }

  #judgeObject(name: string, object: ObjectHistory): void {
    const { writes } = object;
    const acked = writes
      .filter((write) => write.ackedNs !== undefined)
      .sort((a, b) => (a.ackedNs! < b.ackedNs! ? -1 : 1));
    const byBegin = object.reads.sort((a, b) => (a.beganNs < b.beganNs ? -1 : 1));
    const byEnd = [...byBegin].sort((a, b) => (a.endedNs < b.endedNs ? -1 : 1));
    let [nextAck, nextEnd] = [0, 0];
    let seen = object.floor;
    let floor = object.floor;
    for (const read of byBegin) {
      for (; nextAck < acked.length && acked[nextAck]!.ackedNs! < read.beganNs; nextAck++)
        floor = Math.max(floor, acked[nextAck]!.version);
      for (; nextEnd < byEnd.length && byEnd[nextEnd]!.endedNs < read.beganNs; nextEnd++)
        seen = Math.max(seen, byEnd[nextEnd]!.version);
      const lowest = Math.max(floor, seen);
      const ceiling = writes.findLast(({ begunNs }) => begunNs < read.endedNs)?.version ?? object.floor;
      const possible = (version: number): boolean =>
        version === lowest || writes.some((write) => write.version === version);
      if (read.version === 0) {
        let gone = false;
        for (let version = lowest; version <= ceiling && !gone; version++) gone = removes(version) && possible(version);
        if (!gone)
          this.#wrong.push(`LOST ${name}: not there, version ${lowest} was acknowledged or seen, ${ceiling} tried`);
      } else if (read.version < lowest)
        this.#wrong.push(
          `STALE ${name}: version ${read.version} read, ${read.version < floor ? `${floor} was acknowledged` : `${seen} had been read`} before`,
        );
      else if (read.version > ceiling || !possible(read.version))
        this.#wrong.push(`WRONG ${name}: version ${read.version} read, ${ceiling} is the newest that was tried`);
    }
    // What a read found that is still to come may be as old as what was acknowledged or seen by now.
    for (const write of acked) floor = Math.max(floor, write.version);
    for (const read of byEnd) floor = Math.max(floor, read.version);
    object.floor = floor;
    object.reads = [];
    object.writes = writes.filter(({ version }) => version >= floor);
  }
}
