/**
 * Text of a recipe -> Recipe, or a RecipeError with everything that is wrong with it.
 *
 * The text is walked as YAML wrote it rather than as JS objects, for positions, the order of parents and the
 * messages; the schema for editors (schema.ts) says the same less exactly, and a test holds the two together.
 */
import { RecipeError } from "../base/errors.ts";
import { parseBytes } from "../base/format.ts";
import { type Field, readDocument, START, type Value } from "../yaml/document.ts";
import { type DocumentKind, Faults } from "../yaml/faults.ts";
import { addWrongType, readFields, readText, readWord, requireField } from "../yaml/fields.ts";
import { escapeControls, quote } from "../yaml/wording.ts";
import { addUnknownParent, type Known, readRule } from "./read-rule.ts";
import type { Output, ParentRef, Recipe, Rule } from "./recipe.ts";
import { KEYS, MAX_RECIPE_BYTES, MIN_SHARD_BYTES, OUTPUT_DTYPES, PARENT_NAME } from "./vocabulary.ts";

const RECIPE: DocumentKind = {
  noun: "recipe",
  maxBytes: MAX_RECIPE_BYTES,
  error: (problems) => new RecipeError(problems),
};

/**
 * Reads a recipe's text (assembly.md section 4). `file` is for messages, and for the folder that relative
 * parents start from.
 *
 * @throws RecipeError with every fault and its position, and nothing else
 */
export function parseRecipe(text: string, options: { file?: string } = {}): Recipe {
  const faults = new Faults(options.file, RECIPE);
  let recipe: Recipe | undefined;
  try {
    const root = readDocument(text, faults);
    if (root) recipe = readRecipe(root, text, options.file, faults);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    faults.add(
      START,
      "internal",
      `internal: reading the recipe failed: ${escapeControls(what.slice(0, 200))}`,
    );
  }
  faults.throwIfAny();
  return recipe!;
}

/** A recipe that is right only if no faults were added. */
function readRecipe(root: Value, text: string, file: string | undefined, faults: Faults): Recipe | undefined {
  if (root.kind === "scalar" && root.value === null) {
    const message = 'Cannot read the recipe: it is empty, wanted "version", "parents", "base" and "rules"';
    faults.add(root.at, "empty-recipe", message, "Write one with: chimera recipe init");
    return undefined;
  }
  const fields = readFields(root, "the recipe", KEYS.recipe, faults);
  if (!fields) return undefined;
  readVersion(requireField(fields, "version", root.at, "the recipe", '"version: 1"', faults), faults);
  const parents = readParents(
    requireField(fields, "parents", root.at, "the recipe", "parents by name, each with its folder", faults),
    faults,
  );
  const names = parents?.map(({ name }) => name);
  const baseField = requireField(fields, "base", root.at, "the recipe", "the name of a parent", faults);
  const base = readParentName(baseField, names, faults);
  const tokenizer = readParentName(fields.get("tokenizer"), names, faults) ?? base;
  const chatTemplate = readParentName(fields.get("chat_template"), names, faults) ?? tokenizer;
  const rulesField = fields.get("rules");
  const rules = readRules(rulesField, { parents: names, base }, faults);
  const output = readOutput(fields.get("output"), faults);
  // A misspelt tokenizer counts as a use of a parent: it has its own fault.
  const borrows = [fields.get("tokenizer"), fields.get("chat_template")].some(
    (field) => field && (field.value.kind !== "scalar" || field.value.text !== base),
  );
  const hasNone = !rulesField || (rulesField.value.kind === "list" && rulesField.value.items.length === 0);
  if (parents && parents.length > 1 && hasNone && !borrows) {
    const message = `Cannot read the recipe: it has ${parents.length} parents and no rule, wanted a rule that uses them`;
    const note =
      "Without rules the child is a copy of the base; a recipe with the base as its only parent says so";
    faults.add(rulesField?.at ?? root.at, "no-rules", message, note);
  }
  return {
    version: 1,
    file,
    text,
    parents: parents ?? [],
    base: base ?? "",
    rules: rules ?? [],
    tokenizer: tokenizer ?? "",
    chatTemplate: chatTemplate ?? "",
    output,
  };
}

function readVersion(field: Field | undefined, faults: Faults): void {
  if (!field) return;
  const { value } = field;
  if (value.kind !== "scalar" || typeof value.value !== "number") {
    addWrongType(faults, '"version"', value, "the number 1");
  } else if (value.value !== 1) {
    const message = `Cannot read a recipe of version ${value.text.slice(0, 80)}: this program reads version 1, wanted 1`;
    faults.add(value.at, "unknown-version", message);
  }
}

/** The parents whose names could be read, even when their paths could not: other parts refer to them. */
function readParents(field: Field | undefined, faults: Faults): ParentRef[] | undefined {
  if (!field) return undefined;
  const wanted = "parents by name, like { v3: ./DeepSeek-V3-0324 }";
  if (field.value.kind !== "mapping") {
    addWrongType(faults, '"parents"', field.value, wanted);
    return undefined;
  }
  if (field.value.entries.length === 0) {
    faults.add(
      field.value.at,
      "empty-parents",
      `Cannot read "parents": no parent is listed, wanted ${wanted}`,
    );
    return undefined;
  }
  return [...readFields(field.value, '"parents"', undefined, faults)!.values()].map(({ key, at, value }) => {
    // Names are keys of plain objects later on; "constructor" would find what nobody put there.
    const what = !PARENT_NAME.test(key)
      ? "it has other characters"
      : key in {}
        ? "the word is reserved"
        : undefined;
    if (what !== undefined) {
      const wantedName = 'letters, digits, "-", "_" and "."';
      faults.add(at, "bad-name", `Cannot name a parent ${quote(key)}: ${what}, wanted ${wantedName}`);
    }
    const subject = `the folder of the parent ${quote(key)}`;
    return { name: key, path: readText(value, subject, "a path", faults) ?? "", at };
  });
}

/** The parent under `base`, `tokenizer` or `chat_template`; the name as written, so that 3.1 is "3.1". */
function readParentName(
  field: Field | undefined,
  parents: readonly string[] | undefined,
  faults: Faults,
): string | undefined {
  if (!field) return undefined;
  const { key, value } = field;
  const isName = value.kind === "scalar" && ["string", "number"].includes(typeof value.value);
  if (!isName || value.text === "") {
    addWrongType(faults, quote(key), value, "the name of a parent");
    return undefined;
  }
  if (!parents) return undefined;
  if (parents.includes(value.text)) return value.text;
  addUnknownParent(value.text, value.at, parents, faults);
  return undefined;
}

function readRules(field: Field | undefined, known: Known, faults: Faults): Rule[] | undefined {
  if (!field) return [];
  if (field.value.kind !== "list") {
    addWrongType(
      faults,
      '"rules"',
      field.value,
      "a list of rules",
      'A recipe without rules leaves "rules" out',
    );
    return undefined;
  }
  return field.value.items.flatMap((item, index) => readRule(item, index, known, faults) ?? []);
}

function readOutput(field: Field | undefined, faults: Faults): Output {
  const output: Output = { dtype: "as-base", maxShardSize: "as-base" };
  const fields = field && readFields(field.value, '"output"', KEYS.output, faults);
  const dtype = fields?.get("dtype");
  if (dtype) output.dtype = readWord(dtype, OUTPUT_DTYPES, "unknown-dtype", faults) ?? "as-base";
  const size = fields?.get("max_shard_size");
  if (size) output.maxShardSize = readShardSize(size, faults);
  return output;
}

function readShardSize({ value }: Field, faults: Faults): "as-base" | number {
  const wanted = '"as-base" or a size like 5GB, at least 1KB';
  if (value.kind !== "scalar" || value.value === null || typeof value.value === "boolean") {
    addWrongType(faults, '"max_shard_size"', value, wanted);
    return "as-base";
  }
  if (value.value === "as-base") return "as-base";
  // A number by its value: 5e9 is a number of YAML that parseBytes() does not know.
  const bytes = typeof value.value === "number" ? value.value : parseBytes(value.value);
  if (bytes !== undefined && Number.isSafeInteger(bytes) && bytes >= MIN_SHARD_BYTES) return bytes;
  const isSmall = bytes !== undefined && bytes < MIN_SHARD_BYTES;
  const what = isSmall ? "too small" : "no size that can be counted in bytes";
  const message = `Cannot use the shard size ${quote(value.text)}: ${what}, wanted ${wanted}`;
  faults.add(value.at, "bad-shard-size", message);
  return "as-base";
}
