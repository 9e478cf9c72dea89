/**
 * `bun test/sim/store/main.ts [first seed] [how many]`: whole raft and store groups under as many seeds, one after the other. Prints each seed
 * that breaks a rule, and its trace with `SIM_TRACE=1`; the same seed does it again. Ends with 1 when there was one.
 */
import { simulate } from './run.ts';

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1000);
const began = performance.now();
const sums = { operations: 0, acknowledged: 0, events: 0 };
let bad = 0;
for (let seed = first; seed < first + count; seed++) {
  const result = await simulate({ seed });
  sums.operations += result.operations;
  sums.acknowledged += result.acknowledged;
  sums.events += result.events;
  if (result.violation !== undefined) {
    bad++;
    console.log(`seed ${seed} (${result.members} members): ${result.violation}`);
    if (process.env.SIM_TRACE === '1') console.log(result.trace.join('\n'));
  }
  if ((seed - first + 1) % 100 === 0)
    console.log(`${seed - first + 1} seeds, ${bad} bad, ${Math.round((performance.now() - began) / 1000)} s`);
}
console.log(
  `${count} seeds from ${first}: ${bad} bad; ${sums.operations} operations, ${sums.acknowledged} answered, ${sums.events} events`,
);
process.exit(bad > 0 ? 1 : 0);
