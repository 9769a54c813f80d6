/**
 * What a search may choose from: one dimension for each number of a point.
 *
 * Methods work in the unit cube; this file is the way there and back. A discrete value takes up a cell of the
 * unit interval and stands for its middle. Continuous values are rounded to about 1/5000 of their range: far below
 * what an evaluation can tell apart, short in a recipe, and the same on engines whose exp() differs in the last bit.
 */

/** Numbers from `low` to `high`, both included. */
export interface RangeDimension {
  kind: "range";
  name: string;
  low: number;
  high: number;
  /** Whole numbers only. */
  integer?: boolean;
  /** Equal ratios count as equal steps. Wants `low` > 0. */
  log?: boolean;
  /** Value of the first proposal. */
  start?: number;
}

/** Some numbers; what is no number is listed by its index. */
export interface ListDimension {
  kind: "list";
  name: string;
  values: readonly number[];
  /** Neighbours in the list resemble each other (default); false for names. */
  ordered?: boolean;
  start?: number;
}

export type Dimension = RangeDimension | ListDimension;

/** Ranges are searched in steps of at least this many to the whole. */
const STEPS = 5000;
/** Significant digits of a value on a logarithmic range. */
const LOG_DIGITS = 4;

/** Refuses a space that no point can lie in. */
export function checkSpace(space: readonly Dimension[]): void {
  if (space.length === 0) throw new RangeError("Cannot search: no dimensions, wanted at least 1");
  for (const dimension of space) {
    const fault = faultOf(dimension);
    if (fault !== undefined) throw new RangeError(`Cannot search "${dimension.name}": ${fault}`);
    const { start } = dimension;
    if (start !== undefined && !holds(dimension, start))
      throw new RangeError(`Cannot search "${dimension.name}": start ${start}, wanted a value of its own`);
  }
}

function faultOf(dimension: Dimension): string | undefined {
  switch (dimension.kind) {
    case "list": {
      const { values } = dimension;
      if (values.length === 0) return "no values, wanted at least 1";
      if (new Set(values).size < values.length) return `values ${values.join(", ")}, wanted each once`;
      const wrong = values.find((value) => !Number.isFinite(value));
      return wrong === undefined ? undefined : `value ${wrong}, wanted finite numbers`;
    }
    case "range": {
      const { low, high, integer = false, log = false } = dimension;
      if (!Number.isFinite(low) || !Number.isFinite(high) || low > high)
        return `range ${low} to ${high}, wanted finite numbers, the lower one first`;
      if (integer && !(Number.isSafeInteger(low) && Number.isSafeInteger(high)))
        return `range ${low} to ${high}, wanted whole numbers`;
      return log && low <= 0 ? `logarithmic range from ${low}, wanted more than 0` : undefined;
    }
    default:
      return dimension satisfies never;
  }
}

/** Whether a value is one of the dimension's. */
export function holds(dimension: Dimension, value: number): boolean {
  switch (dimension.kind) {
    case "list":
      return dimension.values.includes(value);
    case "range":
      return (
        value >= dimension.low && value <= dimension.high && (!dimension.integer || Number.isInteger(value))
      );
    default:
      return dimension satisfies never;
  }
}

/** How many values a dimension has; Infinity where it is continuous. */
export function countValues(dimension: Dimension): number {
  if (dimension.kind === "list") return dimension.values.length;
  if (dimension.integer) return dimension.high - dimension.low + 1;
  return dimension.low === dimension.high ? 1 : Number.POSITIVE_INFINITY;
}

export function countPoints(space: readonly Dimension[]): number {
  return space.reduce((product, dimension) => product * countValues(dimension), 1);
}

/** Whether values have no order, so that only equal ones resemble each other. */
export function isUnordered(dimension: Dimension): boolean {
  return dimension.kind === "list" && dimension.ordered === false;
}

/** The value at a place of the unit interval. */
export function valueAt(dimension: Dimension, unit: number): number {
  if (dimension.kind === "list") {
    const { values } = dimension;
    return values[Math.min(Math.floor(unit * values.length), values.length - 1)]!;
  }
  const { low, high, integer = false, log = false } = dimension;
  if (low === high) return low;
  const [from, to] = ends(dimension);
  const value = log ? from * (to / from) ** unit : from + (to - from) * unit;
  return Math.min(Math.max(integer ? Math.round(value) : rounded(value, dimension), low), high);
}

function rounded(value: number, { low, high, log }: RangeDimension): number {
  if (log) return Number(value.toPrecision(LOG_DIGITS));
  const digits = Math.max(Math.ceil(Math.log10(STEPS / (high - low))), 0);
  return digits > 100 ? value : Number(value.toFixed(digits));
}

/** Where the interval begins and ends: a whole number reaches half a step to both sides. */
function ends({ low, high, integer }: RangeDimension): [number, number] {
  return integer ? [low - 0.5, high + 0.5] : [low, high];
}

/** Where a value stands in the unit interval. */
export function unitOf(dimension: Dimension, value: number): number {
  if (dimension.kind === "list") return (dimension.values.indexOf(value) + 0.5) / dimension.values.length;
  if (dimension.low === dimension.high) return 0.5;
  const [from, to] = ends(dimension);
  return dimension.log ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from);
}

/** The cell of a discrete value in the unit interval; undefined for a continuous one. */
export function cellOf(dimension: Dimension, value: number): [number, number] | undefined {
  if (dimension.kind === "list") {
    const index = dimension.values.indexOf(value);
    return [index / dimension.values.length, (index + 1) / dimension.values.length];
  }
  if (dimension.low === dimension.high) return [0, 1];
  return dimension.integer ? [unitOf(dimension, value - 0.5), unitOf(dimension, value + 0.5)] : undefined;
}

/** Points of a finite space in order, the last dimension moving quickest. */
export function* pointsOf(space: readonly Dimension[]): Generator<number[]> {
  const counts = space.map(countValues);
  const total = countPoints(space);
  for (let index = 0; index < total; index++) {
    let rest = index;
    const point = new Array<number>(space.length);
    for (let d = space.length - 1; d >= 0; d--) {
      const dimension = space[d]!;
      const at = rest % counts[d]!;
      rest = Math.floor(rest / counts[d]!);
      point[d] = dimension.kind === "list" ? dimension.values[at]! : dimension.low + at;
    }
    yield point;
  }
}

/** Equal for equal points. */
export function keyOf(point: readonly number[]): string {
  return point.map((value) => (value === 0 ? 0 : value)).join(" ");
}
