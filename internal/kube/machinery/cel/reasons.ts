/** What is wrong with an expression, in the words of cel-go, which users of Kubernetes know. */

/** `map<string, list<int>>` as `map(string, list(int))`; types of our own making are objects. */
function shownType(name: string): string {
  return name
    .replaceAll('<', '(')
    .replaceAll('>', ')')
    .replace(/\bobject\d+\b/g, 'object');
}

const operators: Readonly<Record<string, string>> = { in: '@in' };
const functionNames: Readonly<Record<string, string>> = { re2Matches: 'matches' };

const noOverload = (name: string, types: string): string =>
  `found no matching overload for '${name}' applied to '${types}'`;

const compileReasons: readonly [pattern: RegExp, reason: (...parts: string[]) => string][] = [
  [/^no such overload: ([!-])(\S+)$/, (op, type) => noOverload(`${op}_`, `(${shownType(type!)})`)],
  [
    /^no such overload: (\S.*) (\S+) (\S.*)$/,
    (left, op, right) => noOverload(operators[op!] ?? `_${op}_`, `(${shownType(left!)}, ${shownType(right!)})`),
  ],
  [
    /^found no matching overload for '(?:(.+)\.)?(\w+)\((.*)\)'$/,
    (receiver, name, types) =>
      noOverload(
        functionNames[name!] ?? name!,
        `${receiver === undefined ? '' : `${shownType(receiver)}.`}(${shownType(types!)})`,
      ),
  ],
  [
    /^type '(.+)' does not support field selection$/,
    (type) => `type '${shownType(type!)}' does not support field selection`,
  ],
  [/^No such key: (.+)$/, (name) => `undefined field '${name}'`],
  [/^Unknown variable: (.+)$/, (name) => `undeclared reference to '${name}' (in container '')`],
  [/^Ternary condition must be bool, got '(.+)'$/, (type) => `expected type 'bool' but found '${shownType(type!)}'`],
  [
    /^Logical operator requires bool operands, got '(.+)'$/,
    (type) => `expected type 'bool' but found '${shownType(type!)}'`,
  ],
  [/^List index must be int, got '(.+)'$/, (type) => noOverload('_[_]', `(list(dyn), ${shownType(type!)})`)],
  [/^Unexpected token: EOF$/, () => `Syntax error: mismatched input '<EOF>'`],
  [/^Unexpected token: (.+)$/, (token) => `Syntax error: mismatched input '${token}'`],
  [
    /^Unexpected character: (.+)$/,
    (character) => `Syntax error: token recognition error at: '${character.replace(/^'|'$/g, '')}'`,
  ],
];

/** Why an expression does not compile. */
export function compileReason(reason: string): string {
  for (const [pattern, words] of compileReasons) {
    const match = pattern.exec(reason);
    if (match !== null) return words(...match.slice(1));
  }
  return reason;
}

const runReasons: readonly [pattern: RegExp, reason: string][] = [
  [/^No such key: /, 'no such key: '],
  [/^Division by zero/i, 'division by zero'],
  [/^Modulo by zero/i, 'modulus by zero'],
];

/** Why an expression has no value. */
export function runReason(reason: string): string {
  for (const [pattern, words] of runReasons) if (pattern.test(reason)) return reason.replace(pattern, words);
  return reason;
}

/** `<input>:1:22: reason` and below it the line with the place marked, as cel-go draws it. `at` counts characters. */
export function withPlace(reason: string, expression: string, at: number): string {
  const before = expression.slice(0, at).split('\n');
  const line = expression.split('\n')[before.length - 1] ?? '';
  const column = before.at(-1)!.length;
  return `<input>:${before.length}:${column + 1}: ${reason}\n | ${line}\n | ${'.'.repeat(column)}^`;
}
