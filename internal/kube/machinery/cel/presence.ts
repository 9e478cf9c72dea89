import { optionalValue } from './optional.ts';

/**
 * Presence tests: `has(E.f)` for every expression E, e.g. `has(self.matches[0].path)` (cel-spec, "Field Selection"). The interpreter's own macro takes only
 * chains of fields that start at a variable, and does not check their names. Where E has an error, so has the test.
 */

interface Type {
  readonly kind: string;
  readonly valueType?: Type;
}

interface Select {
  readonly op: string;
  readonly args: readonly [operand: Select, field: string];
}

interface Reasons {
  createError(code: string, reason: string, node: unknown): Error;
}

interface Checker extends Reasons {
  check(node: unknown, context: unknown): Type;
  formatType(type: Type): string;
  getType(name: string): Type;
}

interface Evaluator extends Reasons {
  run(node: unknown, context: unknown): unknown;
  debugType(value: unknown): Type & { fieldLazy(of: unknown, field: string, node: unknown, ev: Evaluator): unknown };
}

interface Macro {
  readonly args: readonly [argument: Select];
  typeCheck(checker: Checker, macro: Macro, context: unknown): Type;
  evaluate(evaluator: Evaluator, macro: Macro, context: unknown): boolean;
}

interface Node {
  readonly op: string;
  readonly args: unknown;
  readonly meta?: unknown;
}

/** Types whose fields can be asked for. */
const selectable: ReadonlySet<string> = new Set(['dyn', 'map', 'message', 'param']);

const typeCheck: Macro['typeCheck'] = (checker, { args: [argument] }, context) => {
  if (argument.op !== '.')
    throw checker.createError('invalid_macro_argument', 'invalid argument to has() macro', argument);
  const operand = checker.check(argument.args[0], context);
  const type = operand.kind === 'optional' ? (operand.valueType ?? operand) : operand;
  if (!selectable.has(type.kind)) {
    const reason = `type '${checker.formatType(type)}' does not support field selection`;
    throw checker.createError('cannot_index_type', reason, argument);
  }
  // Nothing is known of what `optional.none()` holds.
  if (type.kind !== 'param') checker.check(argument, context);
  return checker.getType('bool');
};

const evaluate: Macro['evaluate'] = (evaluator, { args: [argument] }, context) => {
  const [operand, field] = argument.args;
  const value = optionalValue(evaluator.run(operand, context));
  if (value === undefined) return false;
  if (Array.isArray(value))
    throw evaluator.createError('invalid_index_type', "unsupported index type 'string' in list", argument);
  return evaluator.debugType(value).fieldLazy(value, field, argument, evaluator) !== undefined;
};

/** The E of `has(E.f)`; undefined for other nodes. Only for what was checked. */
export function presenceOperand<T extends Node>(node: T): T | undefined {
  return isPresenceTest(node) ? ((node.args as [string, [{ args: [T, string] }]])[1][0].args[0] as T) : undefined;
}

/** Whether the node is a presence test. */
export function isPresenceTest({ op, args }: Node): boolean {
  return op === 'call' && Array.isArray(args) && args[0] === 'has' && args[1]?.length === 1;
}

/** Lets a presence test, which was parsed and is not yet checked, take every expression. */
export function widenPresenceTest(node: Node): void {
  const macro = (node.meta as { macro?: Macro } | undefined)?.macro;
  if (isPresenceTest(node) && macro !== undefined) Object.assign(macro, { typeCheck, evaluate });
}
