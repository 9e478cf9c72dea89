import { badRequest } from './status.ts';

/** How deep a document may nest. Deeper than any API type, shallow enough for recursive code. */
const depthMax = 200;

/** A JSON text as a value, with the paths of keys that occur twice in one object (the last one wins, as in Go). */
export function parseJson(text: string): { value: unknown; duplicates: string[] } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRequest(`couldn't parse the body as JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  return { value, duplicates: scan(text) };
}

interface Frame {
  /** Undefined in an array. */
  keys: Set<string> | undefined;
  /** Current key, or index in an array. */
  at: string | number;
}

/** The path as sigs.k8s.io/json writes it: `spec.containers[0].image`. */
function pathOf(frames: readonly Frame[]): string {
  let path = '';
  for (const { at } of frames) {
    if (typeof at === 'number') path += `[${at}]`;
    else path += path === '' ? at : `.${at}`;
  }
  return path;
}

/** One pass over text that is known to be valid JSON. */
function scan(text: string): string[] {
  const frames: Frame[] = [];
  const duplicates: string[] = [];
  let expectKey = false;
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x7b: // {
        if (frames.length >= depthMax) throw badRequest(`the body nests deeper than ${depthMax}`);
        frames.push({ keys: new Set(), at: '' });
        expectKey = true;
        break;
      case 0x5b: // [
        if (frames.length >= depthMax) throw badRequest(`the body nests deeper than ${depthMax}`);
        frames.push({ keys: undefined, at: 0 });
        expectKey = false;
        break;
      case 0x7d:
      case 0x5d:
        frames.pop();
        expectKey = false;
        break;
      case 0x2c: {
        const frame = frames[frames.length - 1]!;
        if (frame.keys === undefined) frame.at = (frame.at as number) + 1;
        else expectKey = true;
        break;
      }
      case 0x22: {
        const start = i;
        for (i++; text.charCodeAt(i) !== 0x22; i++) if (text.charCodeAt(i) === 0x5c) i++;
        if (!expectKey) break;
        expectKey = false;
        const frame = frames[frames.length - 1]!;
        const raw = text.slice(start + 1, i);
        const key = raw.includes('\\') ? (JSON.parse(`"${raw}"`) as string) : raw;
        if (key === '__proto__') throw badRequest('the key "__proto__" is not supported');
        frame.at = key;
        if (frame.keys!.has(key)) duplicates.push(pathOf(frames));
        frame.keys!.add(key);
        break;
      }
    }
  }
  return duplicates;
}
