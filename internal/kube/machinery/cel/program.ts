import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import { errorText } from '../../../base/errors.ts';
import { registerLibrary } from './library.ts';
import { renamedMethods } from './library-strings.ts';
import { withoutMessages } from './messages.ts';
import { type Budget, charge, metered } from './meter.ts';
import { isPresenceTest, widenPresenceTest } from './presence.ts';
import { compileReason, runReason, withPlace } from './reasons.ts';
import type { CelType } from './types.ts';
import type { CelValue } from './values.ts';

/** What an expression may speak of. */
export interface Scope {
  readonly variables: Readonly<Record<string, CelType>>;
  /** First names of messages that may be made, e.g. `Object`. */
  readonly messages?: readonly string[];
  /** Functions beside the library's. */
  readonly extend?: (environment: Environment) => void;
}

/** An expression that was parsed and checked. */
export interface Program {
  /** The type that checking found; `dyn` when only running tells. */
  readonly type: string;
  readonly ast: ASTNode;
  /** The value. Throws Error with the reason; CostExceeded when it takes too long. Undeclared and undefined variables are errors when they are used. */
  run(values: Readonly<Record<string, CelValue>>, budget: Budget): CelValue;
}

/** Expressions longer than this are refused before they are parsed. */
const expressionMax = 64 * 1024;

/** Two environments with the same functions: one knows types of variables and only checks; in the other everything is dyn, and runs. */
const options = { enableOptionalTypes: true, homogeneousAggregateLiterals: false } as const;
let library: Environment | undefined;

function withLibrary(): Environment {
  if (library === undefined) {
    const made = new Environment(options);
    registerLibrary(made);
    library = made;
  }
  return library.clone();
}

interface Declared {
  readonly check: Environment;
  readonly run: Environment;
}

const declared = new WeakMap<Scope, Declared>();

function declare(scope: Scope): Declared {
  let known = declared.get(scope);
  if (known === undefined) {
    const check = withLibrary();
    const run = withLibrary();
    scope.extend?.(check);
    scope.extend?.(run);
    const names = new Map<CelType, string>();
    for (const [name, type] of Object.entries(scope.variables)) {
      check.registerVariable(name, typeName(check, type, names));
      run.registerVariable(name, typeof type === 'object' && 'optional' in type ? 'optional<dyn>' : 'dyn');
    }
    known = { check, run };
    declared.set(scope, known);
  }
  return known;
}

/** Registers what the type is made of, and gives its name. */
function typeName(environment: Environment, type: CelType, names: Map<CelType, string>): string {
  if (typeof type === 'string') return type === 'null' ? 'dyn' : type;
  if ('list' in type) return `list<${typeName(environment, type.list, names)}>`;
  if ('optional' in type) return `optional<${typeName(environment, type.optional, names)}>`;
  if ('map' in type) return `map<string, ${typeName(environment, type.map, names)}>`;
  const known = names.get(type);
  if (known !== undefined) return known;
  const fields: Record<string, string> = {};
  for (const [field, child] of type.fields) fields[field] = typeName(environment, child, names);
  const name = `object${names.size}`;
  names.set(type, name);
  environment.registerType(name, { ctor: class {}, fields } as never);
  environment.registerOperator(`${name} == ${name}`, (() => true) as never);
  return name;
}

interface Node {
  op: string;
  args: unknown;
  meta: Record<string, unknown>;
  evaluate: (evaluator: unknown, node: Node, context: unknown) => unknown;
}

const isAstNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && 'op' in value && 'meta' in value;

/** Calls `visit` with every node, those of expanded macros included. */
export function walkNodes(value: unknown, visit: (node: Node) => void, seen = new Set<unknown>()): void {
  if (typeof value !== 'object' || value === null || seen.has(value)) return;
  seen.add(value);
  if (isAstNode(value)) {
    visit(value);
    walkNodes(value.args, visit, seen);
    walkNodes(value.meta.alternate, visit, seen);
    const macro = value.meta.macro;
    if (typeof macro === 'object' && macro !== null)
      for (const part of Object.values(macro)) if (isAstNode(part) || Array.isArray(part)) walkNodes(part, visit, seen);
  } else if (Array.isArray(value)) for (const one of value) walkNodes(one, visit, seen);
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const key of ['iterable', 'init', 'step']) walkNodes((value as Record<string, unknown>)[key], visit, seen);
}

/** What the interpreter's parser leaves to be said differently before the tree is checked. */
function prepare(ast: ASTNode): void {
  walkNodes(ast, (node) => {
    widenPresenceTest(node);
    if (node.op !== 'rcall' || !Array.isArray(node.args)) return;
    const name = String(node.args[0]);
    if (Object.hasOwn(renamedMethods, name)) (node.args as unknown[])[0] = renamedMethods[name]!;
  });
}

/** Every step charges the meter, but presence tests are free as upstream (apiserver/pkg/cel/environment, PresenceTestHasCost). The interpreter picks a node's function when it first runs it: ours stands before that choice. */
function meter(ast: ASTNode): void {
  walkNodes(ast, (node) => {
    const { meta } = node;
    const evaluateChosen = (evaluator: unknown, context: unknown): unknown => {
      const chosen = (meta.alternate ?? meta.macro) as Node | undefined;
      if (chosen !== undefined) return chosen.evaluate(evaluator, chosen, context);
      return (meta.evaluate as Node['evaluate'])(evaluator, node, context);
    };
    const cost = node.op === 'value' || isPresenceTest(node) ? 0 : 1;
    node.evaluate = (evaluator, _node, context) => {
      charge(cost);
      return evaluateChosen(evaluator, context);
    };
  });
}

/** Why an expression has no value, in one line: below it the interpreter draws the place. */
export function reasonOf(error: unknown): string {
  return runReason(errorText(error).split('\n')[0]!);
}

/** The words and the place of what is wrong with `expression`, which was parsed as `plain`. */
function compileError(error: unknown, expression: string, plain: string): Error {
  const reason = compileReason(errorText(error).split('\n')[0]!);
  const node = (error as { node?: Marked }).node;
  // Where messages were rewritten, places are of another text.
  if (node === undefined || plain !== expression) return new Error(reason);
  return new Error(withPlace(reason, expression, placeOf(node, plain)));
}

interface Marked {
  readonly op?: string;
  readonly args?: unknown;
  readonly pos?: number;
  readonly start?: number;
  readonly end?: number;
}

/** cel-go marks the operator, the dot and the bracket, where the interpreter marks the first operand. */
function placeOf(node: Marked, text: string): number {
  const start = node.pos ?? node.start ?? 0;
  const first = Array.isArray(node.args) ? (node.args[0] as Marked | undefined) : undefined;
  if (typeof first !== 'object' || first?.end === undefined || node.op === undefined) return start;
  const sign = { '.': '.', '[]': '[', '?:': '?' }[node.op] ?? node.op;
  const found = text.indexOf(sign, first.end);
  return found < 0 ? start : found;
}

/** Parses and checks. Throws Error with the reason and, where it is known, the place. */
export function compile(expression: string, scope: Scope): Program {
  if (expression.length > expressionMax) throw new Error(`expression is longer than ${expressionMax} characters`);
  const plain = withoutMessages(expression, scope.messages ?? []);
  const { check, run } = declare(scope);
  let type: string;
  let program: ReturnType<Environment['parse']>;
  try {
    const typed = check.parse(plain);
    prepare(typed.ast);
    const result = typed.check();
    if (!result.valid) throw result.error;
    type = String(result.type);
    program = run.parse(plain);
    prepare(program.ast);
    const loose = program.check();
    if (!loose.valid) throw loose.error;
    meter(program.ast);
  } catch (error) {
    throw compileError(error, expression, plain);
  }
  const { ast } = program;
  return {
    type,
    ast,
    run: (values, budget) => metered(budget, () => program(values as Record<string, unknown>) as CelValue),
  };
}
