/** How many letters have to be changed to come from one text to the other (Levenshtein). Long texts count up to 64 letters. */
export function editDistance(from: string, to: string): number {
  const a = from.slice(0, 64).toLowerCase();
  const b = to.slice(0, 64).toLowerCase();
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    row = next;
  }
  return row[b.length]!;
}

/** The known word that somebody who wrote `word` probably meant, undefined when none is near. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = word.length < 4 ? 1 : Math.max(2, word.length / 3);
  for (const candidate of known) {
    const distance = editDistance(word, candidate);
    if (distance > least || (distance === least && best !== undefined)) continue;
    best = candidate;
    least = distance;
  }
  return best;
}

/** `; did you mean WORD?`, or nothing. */
export function didYouMean(word: string, known: readonly string[]): string {
  const best = nearest(word, known);
  return best === undefined || best === word ? '' : `; did you mean ${best}?`;
}
