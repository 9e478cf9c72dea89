/**
 * Typed messages as map literals: `Object{spec: Object.spec{replicas: 3}}` and `JSONPatch{op: "add", path: "/x", value: 1}` (KEP-3962) become
 * `{"spec": {"replicas": 3}}`. In CEL an identifier before `{` can only be a message.
 */
const token =
  /\s+|\/\/[^\n]*|[rRbB]{0,2}("""[\s\S]*?"""|'''[\s\S]*?'''|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|[A-Za-z_][A-Za-z0-9_]*|\d[\w.]*|[\s\S]/y;

const isName = (text: string | undefined): text is string =>
  text !== undefined && /^[A-Za-z_][A-Za-z0-9_]*$/.test(text);

/** The expression without messages. `types` are the first names of messages that are known, e.g. `Object`. Throws Error for another type. */
export function withoutMessages(expression: string, types: readonly string[]): string {
  if (!expression.includes('{')) return expression;
  const tokens = expression.match(new RegExp(token.source, 'g')) ?? [];
  const out: string[] = [];
  /** One for every open bracket: whether it is a message whose field names stand bare. */
  const open: boolean[] = [];
  for (const one of tokens) {
    if (one === '{') {
      const name = takeTypeName(out);
      if (name !== undefined && !types.includes(name.split('.')[0]!))
        throw new Error(`undeclared reference to '${name}'`);
      open.push(name !== undefined);
    } else if (one === '(' || one === '[') open.push(false);
    else if (one === '}' || one === ')' || one === ']') open.pop();
    if (one === ':' && open.at(-1) === true) quoteName(out);
    out.push(one);
  }
  return out.join('');
}

/** Removes the dotted name that ends `out`, and gives it. */
function takeTypeName(out: string[]): string | undefined {
  let at = out.length - 1;
  while (at >= 0 && out[at]!.trim() === '') at--;
  if (!isName(out[at])) return undefined;
  const parts = [out[at]!];
  at--;
  while (out[at] === '.' && isName(out[at - 1])) {
    parts.unshift(out[at - 1]!);
    at -= 2;
  }
  out.length = at + 1;
  return parts.join('.');
}

function quoteName(out: string[]): void {
  let at = out.length - 1;
  while (at >= 0 && out[at]!.trim() === '') at--;
  if (isName(out[at])) out[at] = JSON.stringify(out[at]);
}
