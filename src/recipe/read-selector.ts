/**
 * `tensors` of a rule -> selectors. Three forms: a role, one selector object, or a list of both.
 *
 * A selector that cannot select anything, whatever the checkpoint, is a fault here; one that selects nothing
 * in these parents is for plan/ to find.
 */
import { type Field, QUOTE_GLOBS, type Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import { addWrongType, describe, readFields, readText } from "../yaml/fields.ts";
import { didYouMean, oneOf, quote } from "../yaml/wording.ts";
import { compileGlob } from "./glob.ts";
import { readRanges } from "./ranges.ts";
import type { SelectableRole, Selector } from "./recipe.ts";
import { KEYS, SELECTABLE_ROLES } from "./vocabulary.ts";

const WANTED = "a role, a selector like { role: attention, layers: 3-60 }, or a list of them";

/** The selectors that could be read. */
export function readSelectors({ value }: Field, faults: Faults): Selector[] {
  if (value.kind !== "list") {
    const selector = readSelector(value, faults);
    return selector ? [selector] : [];
  }
  if (value.items.length === 0) {
    faults.add(value.at, "empty-list", `Cannot read "tensors": the list is empty, wanted ${WANTED}`);
  }
  return value.items.flatMap((item) => readSelector(item, faults) ?? []);
}

function readSelector(value: Value, faults: Faults): Selector | undefined {
  if (value.kind === "mapping") return readObject(value, faults);
  if (value.kind !== "scalar" || typeof value.value !== "string" || value.value === "") {
    addWrongType(faults, '"tensors"', value, WANTED);
    return undefined;
  }
  const role = readRole(value.value, value, faults);
  return role && { role, at: value.at };
}

function readRole(word: string, { at }: Value, faults: Faults): SelectableRole | undefined {
  const role = SELECTABLE_ROLES.find((each) => each === word);
  if (role !== undefined) return role;
  const note =
    word === "other"
      ? 'Tensors that no role covers are selected by name: { name: "…" }'
      : /[*?.[\]{}]/.test(word)
        ? `To select by name write { name: ${quote(word)} }`
        : didYouMean(word, SELECTABLE_ROLES);
  const message = `Cannot use the role ${quote(word)}: unknown, wanted ${oneOf(SELECTABLE_ROLES)}`;
  faults.add(at, "unknown-role", message, note);
  return undefined;
}

function readObject(value: Value, faults: Faults): Selector | undefined {
  const fields = readFields(value, "the selector", KEYS.selector, faults);
  if (!fields) return undefined;
  const selector: Selector = { at: value.at };
  const conditions = KEYS.selector.filter((key) => key !== "include_mtp");
  if (![...fields.keys()].some((key) => key !== "include_mtp")) {
    const message = `Cannot use the selector: it has no condition, wanted ${oneOf(conditions)}`;
    faults.add(value.at, "empty-selector", message, "Every tensor is { role: all }");
    return undefined;
  }
  const role = fields.get("role");
  if (role) {
    if (role.value.kind === "scalar" && typeof role.value.value === "string" && role.value.value !== "") {
      const word = readRole(role.value.value, role.value, faults);
      if (word) selector.role = word;
    } else addWrongType(faults, '"role"', role.value, oneOf(SELECTABLE_ROLES));
  }
  for (const key of ["layers", "experts"] as const) {
    const field = fields.get(key);
    const ranges = field && readRanges(field, faults);
    if (ranges) selector[key] = ranges;
  }
  const matrices = readMatrices(fields.get("matrices"), faults);
  if (matrices) selector.matrices = matrices;
  const name = readGlob(fields.get("name"), faults);
  if (name !== undefined) selector.name = name;
  const includeMtp = fields.get("include_mtp");
  if (includeMtp) {
    const flag = includeMtp.value;
    if (flag.kind === "scalar" && typeof flag.value === "boolean") selector.includeMtp = flag.value;
    else addWrongType(faults, '"include_mtp"', flag, "true or false");
  }
  addContradictions(selector, fields, faults);
  return selector;
}

function readMatrices(field: Field | undefined, faults: Faults): string[] | undefined {
  if (!field) return undefined;
  const { value } = field;
  const wanted = "a list of matrices like [gate_proj, down_proj]";
  if (value.kind !== "list") {
    const note =
      value.kind === "scalar" && value.text !== "" ? `Write it as a list: [${value.text}]` : undefined;
    addWrongType(faults, '"matrices"', value, wanted, note);
    return undefined;
  }
  if (value.items.length === 0) {
    faults.add(value.at, "empty-list", `Cannot read "matrices": the list is empty, wanted ${wanted}`);
  }
  return value.items.flatMap((item) => {
    const matrix = readText(item, '"matrices"', "the name of a matrix like gate_proj", faults);
    if (matrix === undefined) return [];
    const suffix = [".weight", ".bias", ".weight_scale_inv"].find((end) => matrix.endsWith(end));
    if (suffix !== undefined) {
      const short = quote(matrix.slice(0, -suffix.length));
      const what = `a matrix is named without ${quote(suffix)}`;
      faults.add(item.at, "bad-matrix", `Cannot use the matrix ${quote(matrix)}: ${what}, wanted ${short}`);
    }
    return [matrix];
  });
}

function readGlob(field: Field | undefined, faults: Faults): string | undefined {
  if (!field) return undefined;
  const note = field.value.kind === "list" || field.value.kind === "mapping" ? QUOTE_GLOBS : undefined;
  const name = readText(field.value, '"name"', 'a glob like "*.experts.*"', faults, note);
  if (name === undefined) return undefined;
  try {
    compileGlob(name);
    return name;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    faults.add(field.value.at, "bad-glob", `Cannot use the glob ${quote(name)}: ${error.message}`);
    return undefined;
  }
}

/** Conditions that exclude each other in every checkpoint. */
function addContradictions(selector: Selector, fields: Map<string, Field>, faults: Faults): void {
  const { role, includeMtp, experts } = selector;
  if (role === "mtp" && includeMtp === false) {
    const { value } = fields.get("include_mtp")!;
    const message = `Cannot use "include_mtp": ${describe(value)} beside the role "mtp", wanted true or no such key`;
    faults.add(value.at, "contradiction", message);
  }
  if (experts && role !== undefined && role !== "routed-experts" && role !== "mtp" && role !== "all") {
    const { at } = fields.get("experts")!;
    const message = `Cannot select experts of the role ${quote(role)}: it has none, wanted "routed-experts"`;
    faults.add(at, "contradiction", message);
  }
}
