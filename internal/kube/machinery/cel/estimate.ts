import type { ASTNode } from '@marcbachmann/cel-js';
import { isNode, type Structural } from '../structural/schema.ts';
import { presenceOperand } from './presence.ts';
import { fieldIdentifier } from './types.ts';

/**
 * The most that an expression can cost, from the bounds that the schema sets (`maxItems`, `maxProperties`, `maxLength`; without them, from the largest
 * request that is taken). As upstream, definitions are refused whose rules could cost more than a budget (docs: custom-resource-definitions, "Resource
 * constraints"). A lower bound of upstream's own estimate: what upstream accepts is accepted.
 */
export const ruleCostMax = 10_000_000;
export const definitionCostMax = 100_000_000;

const requestBytesMax = 3 * 1024 * 1024;

/** What is known of a value before it is there. */
interface Shape {
  readonly node: Structural | undefined;
  /** How many elements or characters at most. */
  readonly size: number;
}

interface Cost {
  readonly cost: number;
  readonly shape: Shape;
}

const bounded = (value: unknown): number | undefined => (typeof value === 'number' && value >= 0 ? value : undefined);

/** The fewest bytes that a value takes in JSON. */
function bytesMin(node: Structural | undefined): number {
  switch (node?.type) {
    case 'string':
      return 2 + (bounded(node.raw.minLength) ?? 0);
    case 'object': {
      let sum = 2;
      const required = Array.isArray(node.raw.required) ? node.raw.required : [];
      for (const key of required) sum += String(key).length + 4 + bytesMin(node.properties.get(String(key)));
      return sum;
    }
    case 'array':
      return 2;
    case 'boolean':
      return 4;
    default:
      return 1;
  }
}

/** How often a value of a schema can be in one request, whatever surrounds it: each takes its fewest bytes and a comma. */
export function instancesMax(node: Structural): number {
  return Math.floor(requestBytesMax / (1 + bytesMin(node)));
}

/** How many children of a list or map the schema allows; undefined when it sets no bound. */
export function childrenBound(node: Structural): number | undefined {
  return bounded(node.type === 'array' ? node.raw.maxItems : node.raw.maxProperties);
}

/** How many children of a list or map one request can bring. */
function childrenMax(node: Structural): number {
  if (node.type === 'array') return bounded(node.raw.maxItems) ?? requestBytesMax / (1 + bytesMin(node.items));
  const more = isNode(node.additionalProperties) ? node.additionalProperties : undefined;
  return bounded(node.raw.maxProperties) ?? requestBytesMax / (5 + bytesMin(more));
}

function sizeOf(node: Structural): number {
  if (node.type === 'array' || (node.type === 'object' && node.additionalProperties !== undefined))
    return childrenMax(node);
  if (node.type === 'string') {
    if (bounded(node.raw.maxLength) !== undefined) return node.raw.maxLength as number;
    if (Array.isArray(node.raw.enum)) return Math.max(...node.raw.enum.map((one) => String(one).length));
    const format = String(node.raw.format);
    return formatLengths[format] ?? requestBytesMax;
  }
  return 1;
}

const formatLengths: Readonly<Record<string, number>> = { date: 10, 'date-time': 30, duration: 32 };

const unknown: Shape = { node: undefined, size: 1 };
const shapeOf = (node: Structural | undefined): Shape => (node === undefined ? unknown : { node, size: sizeOf(node) });

function fieldOf(shape: Shape, name: string): Shape {
  const { node } = shape;
  if (node === undefined) return unknown;
  for (const [key, child] of node.properties) if (fieldIdentifier(key) === name) return shapeOf(child);
  return isNode(node.additionalProperties) ? shapeOf(node.additionalProperties) : unknown;
}

const elementOf = (shape: Shape): Shape => {
  const { node } = shape;
  if (node?.type === 'array') return shapeOf(node.items);
  return { node: undefined, size: node?.type === 'object' ? 64 : 1 };
};

interface Node {
  op: string;
  args: unknown;
  meta?: { alternate?: Node; macro?: { val?: Node; exp?: Node; var?: string } };
}

/** The most that one evaluation of the expression costs. `variables`: where its roots stand in the schema. */
export function estimateCost(ast: ASTNode, variables: ReadonlyMap<string, Structural | undefined>): number {
  const roots = new Map([...variables].map(([name, node]) => [name, shapeOf(node)]));
  return costOf(ast as unknown as Node, roots).cost;
}

const scanning: ReadonlySet<string> = new Set([
  'contains',
  'endsWith',
  'find',
  'findAll',
  'lowerAscii',
  're2Matches',
  'replace',
  'split',
  'startsWith',
  'upperAscii',
]);

function costOf(node: Node, scope: ReadonlyMap<string, Shape>): Cost {
  const alternate = node.meta?.alternate;
  if (alternate !== undefined) return costOf(alternate, scope);
  const macro = node.meta?.macro;
  if (macro?.val !== undefined && macro.exp !== undefined) {
    const value = costOf(macro.val, scope);
    const inner = costOf(macro.exp, new Map(scope).set(String(macro.var), value.shape));
    return { cost: 1 + value.cost + inner.cost, shape: inner.shape };
  }
  const rule = Object.hasOwn(costs, node.op) ? costs[node.op]! : anyNode;
  return rule(node, scope);
}

type CostRule = (node: Node, scope: ReadonlyMap<string, Shape>) => Cost;

const isNodeLike = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'op' in value;

function childrenOf(value: unknown): Node[] {
  if (isNodeLike(value)) return [value];
  return Array.isArray(value) ? value.flatMap(childrenOf) : [];
}

const anyNode: CostRule = (node, scope) => {
  const parts = childrenOf(node.args).map((child) => costOf(child, scope));
  return { cost: 1 + parts.reduce((sum, part) => sum + part.cost, 0), shape: unknown };
};

const select: CostRule = (node, scope) => {
  const [base, name] = node.args as [Node, unknown];
  const inner = costOf(base, scope);
  if (typeof name === 'string') return { cost: 1 + inner.cost, shape: fieldOf(inner.shape, name) };
  const index = isNodeLike(name) ? costOf(name, scope).cost : 0;
  const shape = inner.shape.node?.type === 'array' ? elementOf(inner.shape) : mapValue(inner.shape);
  return { cost: 1 + inner.cost + index, shape };
};

const mapValue = (shape: Shape): Shape =>
  isNode(shape.node?.additionalProperties) ? shapeOf(shape.node.additionalProperties) : unknown;

const compared: CostRule = (node, scope) => {
  const [left, right] = (node.args as Node[]).map((child) => costOf(child, scope)) as [Cost, Cost];
  const size = Math.min(left.shape.size, right.shape.size);
  return { cost: left.cost + right.cost + Math.max(1, size / 10), shape: unknown };
};

const costs: Readonly<Record<string, CostRule>> = {
  value: (node) => ({
    cost: 0,
    shape: { node: undefined, size: typeof node.args === 'string' ? node.args.length : 1 },
  }),
  id: (node, scope) => ({ cost: 1, shape: scope.get(String(node.args)) ?? unknown }),
  '.': select,
  '.?': select,
  '[]': select,
  '[?]': select,
  '==': compared,
  '!=': compared,
  in: (node, scope) => {
    const [item, list] = (node.args as Node[]).map((child) => costOf(child, scope)) as [Cost, Cost];
    const steps = list.shape.node?.type === 'array' ? list.shape.size : 1;
    return { cost: item.cost + list.cost + steps, shape: unknown };
  },
  '?:': (node, scope) => {
    const [condition, yes, no] = (node.args as Node[]).map((child) => costOf(child, scope)) as [Cost, Cost, Cost];
    return { cost: condition.cost + Math.max(yes.cost, no.cost), shape: yes.cost > no.cost ? yes.shape : no.shape };
  },
  // A presence test itself is free (apiserver/pkg/cel/environment, PresenceTestHasCost).
  call: (node, scope) => {
    const operand = presenceOperand(node);
    if (operand !== undefined) return { cost: costOf(operand, scope).cost, shape: unknown };
    const [name, given] = node.args as [string, Node[]];
    if (name === 'matches') return costs.rcall!({ op: 'rcall', args: ['re2Matches', given[0], given.slice(1)] }, scope);
    return anyNode(node, scope);
  },
  rcall: (node, scope) => {
    const [name, receiver, given] = node.args as [string, Node, Node[]];
    const on = costOf(receiver, scope);
    const parts = given.map((child) => costOf(child, scope));
    const work = scanning.has(name) ? on.shape.size / 10 : 1;
    const sum = parts.reduce((total, part) => total + part.cost, 0);
    return { cost: on.cost + sum + Math.max(1, work), shape: { node: undefined, size: on.shape.size } };
  },
  comprehension: (node, scope) => {
    const { iterable, iterVarName, step } = node.args as { iterable: Node; iterVarName: string; step: Node };
    const over = costOf(iterable, scope);
    const one = costOf(step, new Map(scope).set(iterVarName, elementOf(over.shape)));
    return { cost: over.cost + over.shape.size * (1 + one.cost), shape: over.shape };
  },
};
