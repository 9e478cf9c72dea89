import { describe, expect, test } from 'vitest';
import type { Json } from '../json.ts';
import { structuralOf } from '../structural/schema.ts';
import { estimateCost } from './estimate.ts';
import { withoutMessages } from './messages.ts';
import { CostExceeded } from './meter.ts';
import { compile, type Scope } from './program.ts';
import { celTypeOf, fieldIdentifier } from './types.ts';
import { dynamicValue, jsonOf, celValueOf } from './values.ts';

const any: Scope = { variables: { self: 'dyn', object: 'dyn' }, messages: ['Object'] };
const budget = () => ({ remaining: 10_000_000 });
const evaluate = (expression: string, self: Json = null): Json | undefined =>
  jsonOf(compile(expression, any).run({ self: dynamicValue(self), object: dynamicValue(self) }, budget()));

describe('CEL', () => {
  test.each<[string, Json]>([
    ['"a-b-c".split("-").join("/")', 'a/b/c'],
    ['"abc".charAt(1)', 'b'],
    ['"aXbX".replace("X", "--", 1)', 'a--bX'],
    ['"abc".replace("", "_")', '_a_b_c_'],
    ['"abc123def45".find("[0-9]+")', '123'],
    ['"abc123def45".findAll("[0-9]+")', ['123', '45']],
    ['"abc".matches("^a.c$")', true],
    ['matches("abc", "^b") || matches({"a": "abc"}["a"], "c$")', true],
    ['[1].exists(_, matches("ab", "^b"))', false],
    ['"%s is %d%% of %.2f".format(["x", 5, 1.5])', 'x is 5% of 1.50'],
    ['"%x %X %b".format([255, 255, 5])', 'ff FF 101'],
    ['[3, 1, 2].isSorted()', false],
    ['[1, 2, 3].sum()', 6],
    ['[3, 1, 2].min() + [3, 1, 2].max()', 4],
    ['["a", "b", "a"].lastIndexOf("a")', 2],
    ['sets.contains([1, 2, 3], [2, 3])', true],
    ['sets.intersects([1], [2])', false],
    ['sets.equivalent([1, 1, 2], [2, 1])', true],
    ['url("https://example.com:80/path?k=v&k=w").getHost()', 'example.com:80'],
    ['url("https://[::1]:80/").getHostname()', '::1'],
    ['url("https://example.com:80/path?k=v&k=w").getQuery()', { k: ['v', 'w'] }],
    ['url("/a/b").getEscapedPath()', '/a/b'],
    ['isURL("../rel")', false],
    ['quantity("50Mi").isGreaterThan(quantity("1Ki"))', true],
    ['quantity("50k").add(20000).sub(quantity("20k")).asInteger()', 50000],
    ['quantity("1024") == quantity("1Ki")', true],
    ['isQuantity("10 Mo")', false],
    ['ip("192.168.0.1").family()', 4],
    ['ip.isCanonical("2001:db8:0:0::1")', false],
    ['ip("::1").isLoopback() && !ip("10.0.0.1").isLoopback()', true],
    ['cidr("192.168.0.0/24").containsIP("192.168.0.99")', true],
    ['cidr("192.168.0.0/24").containsCIDR(cidr("192.168.0.0/16"))', false],
    ['cidr("192.168.3.7/24").masked() == cidr("192.168.3.0/24")', true],
    ['string(cidr("2001:db8::/32").ip())', '2001:db8::'],
    ['["10.0.0.1"].all(ip, isIP(ip))', true],
    ['semver("1.2.3").isLessThan(semver("1.10.0"))', true],
    ['semver("1.2.3-rc.1").compareTo(semver("1.2.3"))', -1],
    ['!format.dns1123Label().validate("A").hasValue()', false],
    ['format.dns1123Label().validate("ok").hasValue()', false],
    ['format.named("dns1035Label").hasValue()', true],
    ['duration("90m") > duration("1h")', true],
    ['optional.none().orValue(3)', 3],
  ])('%s', (expression, expected) => {
    expect(evaluate(expression)).toEqual(expected);
  });

  test('equality of objects and lists is deep', () => {
    expect(
      evaluate('self.a == self.b && self.a in [self.b]', { a: { x: [1, { y: 'z' }] }, b: { x: [1, { y: 'z' }] } }),
    ).toBe(true);
  });

  test('messages are maps; other types are unknown; strings and comments stay', () => {
    expect(evaluate('Object{spec: Object.spec{replicas: 3}}')).toEqual({ spec: { replicas: 3 } });
    expect(withoutMessages('"Object{a: 1}" == x ? {"a": 1} : {b: 2}', ['Object'])).toBe(
      '"Object{a: 1}" == x ? {"a": 1} : {b: 2}',
    );
    expect(() => evaluate('Pod{x: 1}')).toThrow("undeclared reference to 'Pod'");
  });

  test('types of a schema are checked before anything runs', () => {
    const schema = structuralOf({
      type: 'object',
      properties: {
        replicas: { type: 'integer' },
        'max-size': { type: 'number' },
        when: { type: 'string', format: 'date-time' },
        list: { type: 'array', items: { type: 'object', properties: { name: { type: 'string' } } } },
        labels: { type: 'object', additionalProperties: { type: 'string' } },
        port: { 'x-kubernetes-int-or-string': true },
        namespace: { type: 'string' },
      },
    });
    const type = celTypeOf(schema);
    const scope: Scope = { variables: { self: type, oldSelf: type } };
    const self = celValueOf(schema, {
      replicas: 3,
      'max-size': 4,
      when: '2024-01-01T00:00:00Z',
      list: [{ name: 'a' }],
      labels: { 'a/b': 'c' },
      port: 80,
      namespace: 'n',
    });
    const run = (expression: string): unknown => compile(expression, scope).run({ self, oldSelf: self }, budget());
    expect(run('self.replicas > 2 && self.max__dash__size > 3.5')).toBe(true);
    expect(run('self.list == oldSelf.list && self == oldSelf')).toBe(true);
    expect(run('self.when < timestamp("2025-01-01T00:00:00Z")')).toBe(true);
    expect(run('self.labels["a/b"] == "c" && self.__namespace__ == "n"')).toBe(true);
    expect(run('self.port == 80 && type(self.port) == int')).toBe(true);
    const wrong: [expression: string, reason: string][] = [
      ['self.nope', "<input>:1:5: undefined field 'nope'\n | self.nope\n | ....^"],
      [
        'true &&\nself.replicas == "a"',
        `<input>:2:15: found no matching overload for '_==_' applied to '(int, string)'\n | self.replicas == "a"\n | ..............^`,
      ],
      ['!self.replicas', "found no matching overload for '!_' applied to '(int)'"],
      ['1 in self.list', "found no matching overload for '@in' applied to '(int, list(object))'"],
      ['self.replicas.startsWith("a")', "found no matching overload for 'startsWith' applied to 'int.(string)'"],
      ['size(self.replicas)', "found no matching overload for 'size' applied to '(int)'"],
      ['self.replicas ? 1 : 2', "expected type 'bool' but found 'int'"],
      ['nobody', "undeclared reference to 'nobody' (in container '')"],
      ['self.replicas +', "Syntax error: mismatched input '<EOF>'"],
    ];
    for (const [expression, reason] of wrong) expect(() => run(expression)).toThrow(reason);
    expect(fieldIdentifier('a__b.c-d/e')).toBe('a__underscores__b__dot__c__dash__d__slash__e');
  });

  test('matches() costs the same written either way, estimated and run', () => {
    const text = 'a'.repeat(1000);
    const roots = new Map([['self', structuralOf({ type: 'string', maxLength: 1000 })]]);
    const [method, call] = ["self.matches('^a+$')", "matches(self, '^a+$')"].map((expression) => {
      const program = compile(expression, any);
      const left = budget();
      program.run({ self: text }, left);
      return { estimated: estimateCost(program.ast, roots), used: budget().remaining - left.remaining };
    });
    expect(call).toEqual(method);
    expect(call!.estimated).toBeGreaterThan(100);
    expect(call!.used).toBeGreaterThan(100);
  });

  test('what takes too long is ended', () => {
    const many = Array.from({ length: 1000 }, (_, i) => i);
    expect(() => evaluate('self.all(a, self.all(b, self.all(c, a + b + c >= 0)))', many)).toThrow(CostExceeded);
  });

  test('a pattern that would backtrack for ever answers at once', () => {
    for (const expression of ['self.matches("^(a+)+$")', 'matches(self, "^(a+)+$")'])
      expect(evaluate(expression, `${'a'.repeat(5000)}b`)).toBe(false);
  });
});
