/** parseRecipe() on text by nobody's hand: whatever comes, a RecipeError or a recipe, and in a short time. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { RecipeError } from "../../src/base/errors.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import type { Recipe } from "../../src/recipe/recipe.ts";

const SEED = 20250614;

function attempt(text: string): Recipe | RecipeError {
  try {
    return parseRecipe(text, { file: "r.yaml" });
  } catch (error) {
    assert.ok(error instanceof RecipeError, `threw ${String(error)}`);
    for (const { code, message, line, column } of error.problems) {
      assert.ok(line! >= 1 && column! >= 1, message);
      assert.notEqual(code, "internal", message);
      assert.doesNotMatch(message, /\p{Cc}/u);
    }
    return error;
  }
}

const VALID = ["recipes/r1t2-like.yaml", "recipes/attention-blend.yaml", "recipes/mini/three-parents.yaml"]
  .map((path) => readFileSync(path, "utf8").replace(/^\s*#.*\n/gm, ""))
  .concat(
    'version: 1\nparents: { 1: a, "2": b }\nbase: 1\nrules:\n- tensors: [all, {name: "*.{a,b}[0-9]", layers: [1, 3-9], experts: 2, matrices: [x], include_mtp: true}]\n  weights: &w { 2: [0, 1] }\n- {tensors: mtp, weights: *w, threshold: 0, method: linear}\noutput: { max_shard_size: 5GB, dtype: bf16 }\n',
  );

test("parseRecipe() throws nothing but RecipeError on arbitrary text", () => {
  const yamlish = fc
    .array(
      fc.constantFrom(
        ...[
          "a",
          "1",
          "-1",
          ".inf",
          "~",
          ": ",
          "- ",
          "? ",
          "[",
          "]",
          "{",
          "}",
          ",",
          "&x ",
          "*x",
          "!t ",
          "|\n",
          "> ",
          "'",
          '"',
        ],
        ...[
          "\n",
          "  ",
          "\t",
          "#",
          "%",
          "---\n",
          "...\n",
          "<<",
          "\0",
          "\u{FEFF}",
          "\ud800",
          "version: 1\n",
          "parents:",
          "base:",
        ],
      ),
      { maxLength: 60 },
    )
    .map((parts) => parts.join(""));
  const text = fc.oneof(
    yamlish,
    fc.string({ maxLength: 200 }),
    fc.string({ unit: "binary", maxLength: 200 }),
  );
  fc.assert(
    fc.property(text, (each) => void attempt(each)),
    { seed: SEED, numRuns: 3000 },
  );
});

test("parseRecipe() throws nothing but RecipeError on mutated recipes", () => {
  const edit = fc.record({
    at: fc.nat(),
    cut: fc.nat({ max: 12 }),
    put: fc.oneof(
      fc.string({ maxLength: 4 }),
      fc.constantFrom("\n", "  ", "[", "}", "&w ", "*w", "- ", "null", "-3", "\n\n-"),
    ),
  });
  const mutated = fc
    .tuple(fc.constantFrom(...VALID), fc.array(edit, { minLength: 1, maxLength: 3 }))
    .map(([text, edits]) =>
      edits.reduce((now, { at, cut, put }) => {
        const start = at % (now.length + 1);
        return now.slice(0, start) + put + now.slice(start + cut);
      }, text),
    );
  let accepted = 0;
  fc.assert(
    fc.property(mutated, (text) => {
      if (!(attempt(text) instanceof RecipeError)) accepted++;
    }),
    { seed: SEED, numRuns: 3000 },
  );
  assert.ok(accepted > 100 && accepted < 2900, `${accepted} of 3000 accepted: the mutations test nothing`);
});

test("parseRecipe() accepts the recipes that are mutated", () => {
  for (const text of VALID) assert.ok(!(attempt(text) instanceof RecipeError));
});

const HEAD = "version: 1\nparents: { v3: a, r1: b }\nbase: v3\n";

test("parseRecipe() refuses deep nesting before anything recurses", () => {
  for (const unit of ["- ", "? ", "[", "{a: ", "a: [", "[{", "- &a "]) {
    const error = attempt(unit.repeat(40_000));
    assert.ok(error instanceof RecipeError, unit);
    assert.ok(
      error.problems.some(({ code }) => code === "nested-too-deeply" || code === "yaml-syntax"),
      unit,
    );
  }
  const indented = Array.from({ length: 1000 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n");
  assert.ok(attempt(indented) instanceof RecipeError);
});

test("parseRecipe() counts what aliases stand for before it follows them", () => {
  const tensors = `&t [${Array(1000).fill("router").join(", ")}]`;
  const rule = `&r { tensors: ${tensors}, weights: { r1: 1 } }`;
  const error = attempt(`${HEAD}rules: [${rule}${", *r".repeat(2000)}]`);
  assert.ok(error instanceof RecipeError);
  assert.deepEqual(
    error.problems.map(({ code }) => code),
    ["recipe-too-large"],
  );
  const laughs = Array.from({ length: 9 }, (_, i) => `- &a${i} [${`*a${i - 1},`.repeat(10)}]`).slice(1);
  assert.ok(attempt(`- &a0 [x]\n${laughs.join("\n")}`) instanceof RecipeError);
});

test("parseRecipe() takes under 5 s for 100 kB of anything", () => {
  const fill = (unit: string, head = ""): string =>
    head + unit.repeat(Math.floor((1e5 - head.length) / unit.length));
  const keys = Array.from({ length: 12_000 }, (_, i) => `k${i}:`).join("\n");
  const texts = [
    ...[
      fill("x"),
      fill('"'),
      fill("'"),
      fill("\n"),
      fill(": "),
      fill("!a "),
      fill("&a "),
      fill("a: b: c\n"),
      fill("%a\n"),
    ],
    ...[
      keys,
      fill("*a, ", `${HEAD}a: &a x\nb: [`),
      fill("1, ", `${HEAD}rules: [{ tensors: all, weights: { r1: [`),
    ],
    fill("- { tensors: router, weights: { r2: 1 } }\n", `${HEAD}rules:\n`),
    fill("- { tensors: router, weights: { r1: 1 } }\n", `${HEAD}rules:\n`),
  ];
  for (const text of texts) {
    const start = performance.now();
    attempt(text);
    const seconds = (performance.now() - start) / 1000;
    assert.ok(seconds < 5, `${seconds} s for ${JSON.stringify(text.slice(0, 80))}`);
  }
});

test("parseRecipe() lists a thousand problems and counts the rest", () => {
  const error = attempt(`${HEAD}rules: [${"x, ".repeat(1500)}]`);
  assert.ok(error instanceof RecipeError);
  assert.equal(error.problems.length, 1001);
  const { code, message } = error.problems.at(-1)!;
  assert.equal(code, "too-many-problems");
  assert.equal(message, "Cannot list more than 1000 problems: there are 500 more, wanted a recipe");
});
