/**
 * `!function utils.f` in tasks of lm-evaluation-harness: a Python function, which is never run here.
 *
 * To YAML it is a tag that nobody knows, and the fault would say no more than that. So its mark is hidden from
 * the reader under a character of the same length, and found again where the value stands.
 */
import type { Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { quote } from "../yaml/wording.ts";

const TAG = /(?<=^|[\s,[{])!function(?=\s)/gm;
const HIDDEN = "\u{e000}";

/** The root as `read` gives it, with a fault for each function. */
export function readTags(
  text: string,
  faults: Faults,
  read: (text: string, faults: Faults) => Value | undefined,
): Value | undefined {
  if (!TAG.test(text)) return read(text, faults);
  const root = read(text.replace(TAG, `${HIDDEN}function`), faults);
  return root && reveal(root, faults, new Map());
}

function reveal(value: Value, faults: Faults, done: Map<Value, Value>): Value {
  const known = done.get(value); // aliases share values
  if (known) return known;
  const revealed = revealContent(value, faults, done);
  done.set(value, revealed);
  return revealed;
}

function revealContent(value: Value, faults: Faults, done: Map<Value, Value>): Value {
  switch (value.kind) {
    case "list":
      return { ...value, items: value.items.map((item) => reveal(item, faults, done)) };
    case "mapping":
      return {
        ...value,
        entries: value.entries.map((entry) => ({ ...entry, value: reveal(entry.value, faults, done) })),
      };
    case "scalar": {
      if (!value.text.includes(HIDDEN)) return value;
      const text = value.text.replaceAll(HIDDEN, "!");
      if (!value.text.startsWith(`${HIDDEN}function`)) return { ...value, value: text, text };
      const message = `Cannot use ${quote(text)}: it is a Python function, which is not run, wanted a field or a template`;
      faults.add(value.at, "harness-unmapped", message);
      return { kind: "broken", at: value.at };
    }
    case "broken":
      return value;
    default:
      return value satisfies never;
  }
}
