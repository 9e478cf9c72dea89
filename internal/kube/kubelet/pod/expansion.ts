/**
 * Replaces `$(NAME)` by the variable's value, as upstream does in env, command, args and subPathExpr (kubernetes/third_party/forked/golang/
 * expansion): `$$` is a dollar sign, a name that is not defined stays as written.
 */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  let out = '';
  let i = 0;
  while (i < text.length) {
    const next = text.indexOf('$', i);
    if (next < 0 || next + 1 >= text.length) return out + text.slice(i);
    out += text.slice(i, next);
    const after = text[next + 1];
    if (after === '$') {
      out += '$';
      i = next + 2;
    } else if (after === '(') {
      const end = text.indexOf(')', next + 2);
      if (end < 0) return `${out}$(${expand(text.slice(next + 2), lookup)}`;
      const name = text.slice(next + 2, end);
      out += lookup(name) ?? `$(${name})`;
      i = end + 1;
    } else {
      out += `$${after}`;
      i = next + 2;
    }
  }
  return out;
}
