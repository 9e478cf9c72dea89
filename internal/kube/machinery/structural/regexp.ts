import { RE2JS } from 're2js';

/** RE2 expressions, as Go reads them: time is linear in the text, whatever the pattern. */
const cache = new Map<string, RE2JS>();
const cacheMax = 500;

/** Throws an Error with the reason for a pattern that is none. */
export function compileRe2(pattern: string): RE2JS {
  let compiled = cache.get(pattern);
  if (compiled === undefined) {
    compiled = RE2JS.compile(pattern);
    if (cache.size >= cacheMax) cache.clear();
    cache.set(pattern, compiled);
  }
  return compiled;
}

/** Whether the pattern is found anywhere in the text. */
export function findsRe2(pattern: string, text: string): boolean {
  return compileRe2(pattern).matcher(text).find();
}
