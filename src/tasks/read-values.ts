/** Values of a task file that yaml/fields.ts has no reader for: booleans, numbers, lists of texts. */
import type { Field } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType } from "../yaml/fields.ts";
import { quote } from "../yaml/wording.ts";

export function readBoolean({ key, value }: Field, faults: Faults): boolean | undefined {
  if (value.kind === "scalar" && typeof value.value === "boolean") return value.value;
  addWrongType(faults, quote(key), value, "true or false");
  return undefined;
}

export interface NumberRange {
  wanted: string;
  accepts: (value: number) => boolean;
}

export function readNumber({ key, value }: Field, range: NumberRange, faults: Faults): number | undefined {
  if (value.kind === "scalar" && typeof value.value === "number" && range.accepts(value.value))
    return value.value;
  addWrongType(faults, quote(key), value, range.wanted);
  return undefined;
}

/** A text or a list of texts; none of them empty. */
export function readTexts({ key, value }: Field, wanted: string, faults: Faults): string[] | undefined {
  const items = value.kind === "list" ? value.items : [value];
  const texts: string[] = [];
  for (const item of items) {
    if (item.kind === "scalar" && typeof item.value === "string" && item.value !== "") texts.push(item.value);
    else addWrongType(faults, value.kind === "list" ? `an item of ${quote(key)}` : quote(key), item, wanted);
  }
  return texts.length === items.length ? texts : undefined;
}
