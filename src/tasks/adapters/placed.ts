/** Fields of a task of lm-evaluation-harness, which may stand in several files: reading and refusing one. */
import type { Field, Value } from "../../yaml/document.ts";
import type { Faults } from "../../yaml/faults.ts";
import { readText } from "../../yaml/fields.ts";
import { quote } from "../../yaml/wording.ts";

/** A field, and the faults of the file it stands in. */
export interface Placed {
  field: Field;
  faults: Faults;
}

export type HarnessFields = Map<string, Placed>;

/** Adds a fault at the field's value: it cannot be asked or scored here as it is there. */
export function refuse({ field, faults }: Placed, what: string, wanted: string, note?: string): undefined {
  if (field.value.kind === "broken") return undefined;
  const message = `Cannot use ${quote(field.key)}: ${what}, wanted ${wanted}`;
  faults.add(field.value.at, "harness-unmapped", message, note);
  return undefined;
}

/** null and false, which say what is so anyway. */
export function isNothing(value: Value): boolean {
  return value.kind === "scalar" && (value.value === null || value.value === false);
}

export function textOf(placed: Placed | undefined, wanted: string): string | undefined {
  return placed && readText(placed.field.value, quote(placed.field.key), wanted, placed.faults);
}
