/** Ranges of layers or experts: `7`, `3-60`, `[3-9, 20]`. Both ends belong to them; they may overlap. */
import type { Field, Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType } from "../yaml/fields.ts";
import { quote } from "../yaml/wording.ts";
import type { IndexRange } from "./recipe.ts";
import { RANGE } from "./vocabulary.ts";

const WANTED = "an index like 7, a range like 3-60, or a list of them like [3-9, 20]";

export function contains(ranges: readonly IndexRange[], index: number): boolean {
  return ranges.some(({ from, to }) => from <= index && index <= to);
}

/** [{3, 9}, {20, 20}] -> "3-9, 20" */
export function formatRanges(ranges: readonly IndexRange[]): string {
  return ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(", ");
}

/** The ranges under `layers` or `experts`, or undefined when faults were added. */
export function readRanges({ key, value }: Field, faults: Faults): IndexRange[] | undefined {
  if (value.kind !== "list") {
    const range = readRange(value, key, faults);
    return range && [range];
  }
  if (value.items.length === 0) {
    faults.add(value.at, "empty-list", `Cannot read ${quote(key)}: the list is empty, wanted ${WANTED}`);
    return undefined;
  }
  const ranges = value.items.map((item) => readRange(item, key, faults));
  return ranges.every((range) => range !== undefined) ? ranges : undefined;
}

function readRange(value: Value, key: string, faults: Faults): IndexRange | undefined {
  if (value.kind !== "scalar" || value.value === null || typeof value.value === "boolean") {
    addWrongType(faults, quote(key), value, WANTED);
    return undefined;
  }
  // Numbers by value (1e1 is 10), texts by pattern.
  const match = RANGE.exec(typeof value.value === "number" ? String(value.value) : value.value);
  const bad = (what: string, wanted: string, note?: string): undefined => {
    faults.add(
      value.at,
      "bad-range",
      `Cannot use ${quote(value.text)} in ${quote(key)}: ${what}, wanted ${wanted}`,
      note,
    );
  };
  if (!match) {
    const isList = /^[\d-]+(\s*,\s*[\d-]+)+$/.test(value.text);
    return bad("no index and no range", WANTED, isList ? `Write it as a list: [${value.text}]` : undefined);
  }
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  if (!Number.isSafeInteger(from) || !Number.isSafeInteger(to))
    return bad("too large to count", "an index below 2^53");
  if (from > to) return bad("the range runs backwards", quote(`${to}-${from}`));
  return { from, to };
}
