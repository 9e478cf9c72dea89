import { expect, test } from 'vitest';
import type { Json } from '../json.ts';
import { structuralOf } from '../structural/schema.ts';
import { estimateCost } from './estimate.ts';
import { compile, reasonOf, type Scope } from './program.ts';
import { celTypeOf } from './types.ts';
import { celValueOf, dynamicValue } from './values.ts';

const schema = structuralOf({
  type: 'object',
  properties: {
    count: { type: 'integer' },
    rules: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          matches: { type: 'array', items: { type: 'object', properties: { path: { type: 'string' } } } },
        },
      },
    },
    named: { type: 'object', additionalProperties: { type: 'object', properties: { port: { type: 'integer' } } } },
  },
});
const value: Json = {
  count: 1,
  rules: [{ matches: [{ path: '/' }, {}] }, {}],
  named: { a: { port: 1 }, b: {} },
};
const typed: Scope = { variables: { self: celTypeOf(schema) } };
const loose: Scope = { variables: { self: 'dyn' } };

/** The value, or the reason why there is none. */
function evaluate(expression: string, scope: Scope, budget = { remaining: 1_000_000 }): unknown {
  const program = compile(expression, scope);
  const self = scope === typed ? celValueOf(schema, value) : dynamicValue(value);
  try {
    return program.run({ self }, budget);
  } catch (error) {
    return reasonOf(error);
  }
}

const outOfRange = 'no such key: index out of bounds, index 9 >= size 2';

test.each<[expression: string, expected: unknown]>([
  ['has(self.rules)', true],
  ['has(self.rules[0].matches)', true],
  ['has(self.rules[1].matches)', false],
  ['has(self.rules[0].matches[0].path)', true],
  ['has(self.rules[0].matches[1].path)', false],
  ['has(self.rules[1].matches[0].path)', 'no such key: matches'],
  ['has(self.rules[9].matches)', outOfRange],
  ['!has(self.rules[9].matches)', outOfRange],
  ['has(self.rules[9].matches) || true', true],
  ["has(self.named['a'].port)", true],
  ["has(self.named['b'].port)", false],
  ["has(self.named['c'].port)", 'no such key: c'],
  ['has(self.named.a.port) && !has(self.named.c)', true],
  ['has((self.rules[0]).matches)', true],
  ['has((self.count > 1 ? self.rules[0] : self.rules[1]).matches)', false],
  ['has(self.rules.filter(r, has(r.matches))[0].matches)', true],
  ['has(self.rules.map(r, r)[1].matches)', false],
  ['self.rules.all(r, !has(r.matches) || has(r.matches[0].path))', true],
  ['self.rules.exists(r, has(r.matches) && r.matches.exists(m, !has(m.path)))', true],
  ['has(cel.bind(r, self.rules[1], r).matches)', false],
  ["has({'a': 1}.a) && !has({'a': 1}.b)", true],
  ['has(self.rules[?0].matches) && !has(self.rules[?1].matches) && !has(self.rules[?9].matches)', true],
  ['has(self.?named.a.port) && !has(self.?named.c.port)', true],
  ['has(optional.none().x)', false],
])('%s is %j, whether types are known or not', (expression, expected) => {
  expect(evaluate(expression, typed)).toBe(expected);
  expect(evaluate(expression, loose)).toBe(expected);
});

test('a presence test asks of lists nothing, and of other values without fields finds none', () => {
  expect(evaluate('has(self.rules.x)', loose)).toBe("unsupported index type 'string' in list");
  expect(evaluate('has(self.count.x)', loose)).toBe(false);
});

test.each<[expression: string, reason: string]>([
  ['has(1+1)', '<input>:1:6: invalid argument to has() macro\n | has(1+1)\n | .....^'],
  ['has(self)', '<input>:1:5: invalid argument to has() macro'],
  ["has(self['named'])", 'invalid argument to has() macro'],
  ['has(self.?named)', 'invalid argument to has() macro'],
  ['has(self.rules[0].size())', 'invalid argument to has() macro'],
  ['has(self.nope)', "<input>:1:9: undefined field 'nope'"],
  ['has(self.nope.x)', "<input>:1:9: undefined field 'nope'"],
  ['has(self.rules[0].nope)', "<input>:1:18: undefined field 'nope'"],
  ['self.rules.all(r, has(r.matches[0].nope))', "undefined field 'nope'"],
  ['has(self.rules.matches)', "<input>:1:15: type 'list(object)' does not support field selection"],
  ['has(self.count.x)', "<input>:1:15: type 'int' does not support field selection"],
  ["has(self.rules['0'].matches)", "found no matching overload for '_[_]'"],
  ['has(nobody.x)', "undeclared reference to 'nobody'"],
])('%s does not compile: %s', (expression, reason) => {
  expect(() => compile(expression, typed)).toThrow(reason);
});

test('a presence test costs what its operand costs, estimated and run', () => {
  const estimated = (expression: string): number =>
    estimateCost(compile(expression, typed).ast, new Map([['self', schema]]));
  const used = (expression: string): number => {
    const budget = { remaining: 1000 };
    evaluate(expression, typed, budget);
    return 1000 - budget.remaining;
  };
  for (const [operand, field] of [
    ['self', 'rules'],
    ['self.rules[0]', 'matches'],
    ["self.named['a']", 'port'],
    ['self.rules.filter(r, has(r.matches))[0]', 'matches'],
  ] as const) {
    const presence = `has(${operand}.${field})`;
    expect(estimated(presence), presence).toBe(estimated(operand));
    expect(used(presence), presence).toBe(used(operand));
  }
  expect(used('has(self.rules)')).toBe(1);
});
