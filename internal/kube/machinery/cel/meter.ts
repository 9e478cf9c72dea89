/**
 * What evaluating costs, counted as upstream counts (docs: reference/using-api/cel, "Runtime cost budget"): about one unit a step, a tenth of a unit a
 * byte of text that is looked through. Evaluation is synchronous, so there is one meter at a time.
 */
export class CostExceeded extends Error {
  constructor() {
    super('operation cancelled: actual cost limit exceeded');
  }
}

/** For one expression. */
export const callCostMax = 1_000_000;
/** For all expressions of one request. */
export const requestCostMax = 10_000_000;

/** What is left for the expressions of one request. */
export interface Budget {
  remaining: number;
}

let left = Number.POSITIVE_INFINITY;

export function charge(cost: number): void {
  left -= cost;
  if (left < 0) throw new CostExceeded();
}

/** Charges for looking through texts of these lengths. */
export function chargeText(...lengths: number[]): void {
  let sum = 0;
  for (const length of lengths) sum += length;
  charge(Math.ceil(sum / 10));
}

/** Runs `evaluate` within the budget. Throws CostExceeded. */
export function metered<T>(budget: Budget, evaluate: () => T): T {
  const before = left;
  const granted = Math.min(callCostMax, budget.remaining);
  left = granted;
  try {
    return evaluate();
  } finally {
    budget.remaining -= granted - Math.max(0, left);
    left = before;
  }
}
