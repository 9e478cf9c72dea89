/** The end of the cluster's authorities. They live ten years and are not renewed by themselves (nor are K3s'): who has them is told in time. */

export interface AuthorityLife {
  /** `server-ca`. */
  readonly name: string;
  /** Milliseconds since the epoch. */
  readonly fromMs: number;
  readonly endsMs: number;
}

const dayMs = 86_400_000;
/** Told from so long before the end. */
const warnMs = 365 * dayMs;
/** From here on every certificate ends with its authority: what leaves are renewed before. */
export const lastDays = 90;

/** What is to be told of the authority that ends first; undefined while all of them have more than a year. `urgent`: within 90 days, or over. */
export function authorityWarning(
  lives: readonly AuthorityLife[],
  nowMs: number,
): { readonly text: string; readonly urgent: boolean } | undefined {
  const first = lives.toSorted((a, b) => a.endsMs - b.endsMs)[0];
  if (first === undefined || first.endsMs - nowMs >= warnMs) return undefined;
  const ends = new Date(first.endsMs).toISOString().slice(0, 10);
  const days = Math.floor((first.endsMs - nowMs) / dayMs);
  const others = new Set(
    lives.filter((one) => one.name !== first.name && one.endsMs - nowMs < warnMs).map(({ name }) => name),
  );
  const who = `the authority ${first.name} of the cluster${others.size > 0 ? `, and with it ${[...others].join(', ')},` : ''}`;
  return {
    text:
      days < 0
        ? `${who} has ended on ${ends}: no certificate of it is good any more`
        : `${who} ends on ${ends}, in ${days === 1 ? 'a day' : `${days} days`}: no certificate of it is good after that`,
    urgent: days < lastDays,
  };
}
