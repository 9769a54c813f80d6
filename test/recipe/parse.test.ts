import assert from "node:assert/strict";
import { test } from "node:test";
import { type Problem, RecipeError } from "../../src/base/errors.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";

const HEAD = "version: 1\nparents: { v3: ./v3, r1: ./r1 }\nbase: v3\n";

/** "line:column code message | note", for every problem of the text. */
function faults(text: string): string[] {
  return problems(text).map(
    ({ line, column, code, message, note }) =>
      `${line}:${column} ${code} ${message}${note === undefined ? "" : ` | ${note}`}`,
  );
}

function problems(text: string): readonly Problem[] {
  try {
    parseRecipe(text, { file: "r.yaml" });
  } catch (error) {
    assert.ok(error instanceof RecipeError, String(error));
    assert.ok(error.problems.length > 0);
    for (const problem of error.problems) assert.equal(problem.file, "r.yaml");
    return error.problems;
  }
  return [];
}

/** Codes of a text that is HEAD and `rest`. */
function codes(rest: string): string[] {
  return problems(HEAD + rest).map(({ code }) => code);
}

/** Codes of a recipe with one rule of these lines. */
function ruleCodes(rule: string): string[] {
  return codes(`rules:\n  - ${rule.replaceAll("\n", "\n    ")}\n`);
}

test("parseRecipe() reads the example of assembly.md", () => {
  const text = `version: 1
parents:
  v3: ./DeepSeek-V3-0324
  r1: ./DeepSeek-R1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
  - tensors: { role: attention, layers: 40-60, include_mtp: false }
    weights: { v3: 0.7, r1: 0.3 }
    threshold: 0.0004
    measure: rms
chat_template: r1
tokenizer: v3
output:
  dtype: as-base
  max_shard_size: 5GB
`;
  assert.deepEqual(parseRecipe(text, { file: "r.yaml" }), {
    version: 1,
    file: "r.yaml",
    text,
    parents: [
      { name: "v3", path: "./DeepSeek-V3-0324", at: { line: 3, column: 3 } },
      { name: "r1", path: "./DeepSeek-R1", at: { line: 4, column: 3 } },
    ],
    base: "v3",
    rules: [
      {
        index: 0,
        selectors: [{ role: "routed-experts", at: { line: 7, column: 14 } }],
        weights: { r1: 1 },
        measure: "rms",
        method: "linear",
        at: { line: 7, column: 5 },
        weightsAt: { r1: { line: 8, column: 16 } },
      },
      {
        index: 1,
        selectors: [
          {
            role: "attention",
            layers: [{ from: 40, to: 60 }],
            includeMtp: false,
            at: { line: 9, column: 14 },
          },
        ],
        weights: { v3: 0.7, r1: 0.3 },
        threshold: 0.0004,
        measure: "rms",
        method: "linear",
        at: { line: 9, column: 5 },
        weightsAt: { v3: { line: 10, column: 16 }, r1: { line: 10, column: 25 } },
      },
    ],
    tokenizer: "v3",
    chatTemplate: "r1",
    output: { dtype: "as-base", maxShardSize: 5e9 },
  });
});

test("parseRecipe() reads every form of selector", () => {
  const selectorsOf = (tensors: string) =>
    parseRecipe(`${HEAD}rules: [{ tensors: ${tensors}, weights: { r1: 1 } }]`).rules[0]!.selectors.map(
      ({ at: _, ...rest }) => rest,
    );
  assert.deepEqual(selectorsOf("[router, { role: mtp }, {name: '*.x', include_mtp: false}]"), [
    { role: "router" },
    { role: "mtp" },
    { name: "*.x", includeMtp: false },
  ]);
  assert.deepEqual(selectorsOf("{ layers: [3-9, 20], experts: 7, matrices: [up_proj, down_proj] }"), [
    {
      layers: [
        { from: 3, to: 9 },
        { from: 20, to: 20 },
      ],
      experts: [{ from: 7, to: 7 }],
      matrices: ["up_proj", "down_proj"],
    },
  ]);
  assert.deepEqual(selectorsOf("{ layers: 3-3, experts: '12' }"), [
    { layers: [{ from: 3, to: 3 }], experts: [{ from: 12, to: 12 }] },
  ]);
});

test("parseRecipe() takes defaults from the base", () => {
  const recipe = parseRecipe(`${HEAD}rules: []\nchat_template: r1`);
  assert.deepEqual([recipe.tokenizer, recipe.chatTemplate], ["v3", "r1"]);
  assert.deepEqual(recipe.output, { dtype: "as-base", maxShardSize: "as-base" });
  assert.equal(recipe.file, undefined);
  assert.equal(parseRecipe(`${HEAD}tokenizer: r1`).chatTemplate, "r1");
});

test("parseRecipe() accepts one parent without rules", () => {
  const text =
    "version: 1\nparents: { v3: ./v3 }\nbase: v3\noutput: { dtype: bf16, max_shard_size: 5000000000 }";
  assert.deepEqual(parseRecipe(text).output, { dtype: "bf16", maxShardSize: 5e9 });
  assert.deepEqual(parseRecipe(`${text}\nrules: []`).rules, []);
});

test("parseRecipe() keeps the order and the spelling of parents that look like numbers", () => {
  const recipe = parseRecipe(
    "version: 1\nparents: { r1: a, 3.10: b, 1: c }\nbase: 3.10\nrules: [{ tensors: all, weights: { 1: 0.5 } }]",
  );
  assert.deepEqual(
    recipe.parents.map(({ name }) => name),
    ["r1", "3.10", "1"],
  );
  assert.equal(recipe.base, "3.10");
  assert.deepEqual(recipe.rules[0]!.weights, { 1: 0.5 });
});

test("parseRecipe() shares anchored values", () => {
  const rules =
    "rules:\n  - tensors: router\n    weights: &half { r1: 0.5 }\n  - tensors: norms\n    weights: *half";
  const recipe = parseRecipe(HEAD + rules);
  assert.deepEqual(recipe.rules[1]!.weights, { r1: 0.5 });
});

test("parseRecipe() reports a dozen faults at once, in order, with positions and words", () => {
  const text = `version: 2
parents:
  v3: ./v3
  r1: ""
  v 3: ./v33
bse: v3
rules:
  - tensors: [routed_experts, { role: attention, layers: 60-3 }, "*.o_proj.*"]
    weights: { v3: 0.5, r2: 0.5 }
    treshold: 1
  - tensors: []
    weights: { v3: 1, r1: .inf }
    threshold: -1
    measure: rsm
    method: slerp
    measure: rms
  - weights: {}
chat_template: R1
output:
  dtype: BF16
  max_shard_size: 5 parsecs
`;
  const keys = '"version", "parents", "base", "rules", "tokenizer", "chat_template", "output"';
  const roles =
    '"embeddings", "attention", "norms", "dense-mlp", "router", "shared-experts", "routed-experts", "lm-head", "mtp", "all"';
  assert.deepEqual(faults(text), [
    '1:1 missing-key Cannot read the recipe: "base" is missing, wanted the name of a parent',
    "1:10 unknown-version Cannot read a recipe of version 2: this program reads version 1, wanted 1",
    '4:7 wrong-type Cannot read the folder of the parent "r1": it is an empty text, wanted a path',
    '5:3 bad-name Cannot name a parent "v 3": it has other characters, wanted letters, digits, "-", "_" and "."',
    `6:1 unknown-key Cannot use the key "bse": unknown in the recipe, wanted one of ${keys} | Did you mean "base"?`,
    `8:15 unknown-role Cannot use the role "routed_experts": unknown, wanted one of ${roles} | Did you mean "routed-experts"?`,
    '8:58 bad-range Cannot use "60-3" in "layers": the range runs backwards, wanted "3-60"',
    `8:66 unknown-role Cannot use the role "*.o_proj.*": unknown, wanted one of ${roles} | To select by name write { name: "*.o_proj.*" }`,
    '9:25 unknown-parent Cannot use the parent "r2": unknown, wanted one of "v3", "r1", "v 3" | Did you mean "r1"?',
    '10:5 unknown-key Cannot use the key "treshold": unknown in the rule, wanted one of "tensors", "weights", "threshold", "measure", "method" | Did you mean "threshold"?',
    '11:14 empty-list Cannot read "tensors": the list is empty, wanted a role, a selector like { role: attention, layers: 3-60 }, or a list of them',
    '12:27 not-finite Cannot read the weight of "r1": it is the number .inf, wanted a finite one',
    "13:16 bad-threshold Cannot use the threshold -1: a difference is never negative, wanted a number from 0 | Leave it out to merge every selected tensor",
    '14:14 unknown-measure Cannot use the measure "rsm": unknown, wanted "rms" or "relative" | Did you mean "rms"?',
    '15:13 unavailable-method Cannot use the method "slerp": known, but not available yet, wanted "linear"',
    '16:5 duplicate-key Cannot use the key "measure": it stands twice in the rule, wanted once | The first is at line 14, column 5',
    '17:5 missing-key Cannot read the rule: "tensors" is missing, wanted a role or a selector',
    '17:14 empty-weights Cannot read "weights": no parent is named, wanted at least one',
    '18:16 unknown-parent Cannot use the parent "R1": unknown, wanted one of "v3", "r1", "v 3" | Did you mean "r1"?',
    '20:10 unknown-dtype Cannot use the dtype "BF16": unknown, wanted one of "as-base", "f8_e4m3", "bf16", "f16", "f32" | Did you mean "bf16"?',
    '21:19 bad-shard-size Cannot use the shard size "5 parsecs": no size that can be counted in bytes, wanted "as-base" or a size like 5GB, at least 1KB',
  ]);
});

test("parseRecipe() refuses what is no recipe at all", () => {
  const cases: [text: string, code: string][] = [
    ["", "empty-recipe"],
    ["# only a comment\n", "empty-recipe"],
    ["~", "empty-recipe"],
    ["[1, 2]", "wrong-type"],
    ["just text", "wrong-type"],
    ["a: [", "yaml-syntax"],
    ["a: 1\n---\nb: 2\n", "yaml-syntax"],
    ["\ta: 1", "yaml-syntax"],
    ["a: !!binary aGk=", "yaml-syntax"],
    ["%YAML 1.1\n---\nversion: 1\n", "yaml-syntax"],
    [`version: 1 # ${"x".repeat(1e6)}`, "recipe-too-large"],
    [`# ${"é".repeat(5e5)}`, "recipe-too-large"],
  ];
  for (const [text, code] of cases) {
    assert.ok(
      problems(text).some((each) => each.code === code),
      `${text.slice(0, 40)}: ${faults(text)}`,
    );
  }
  assert.deepEqual(faults("version: [1\nbase: v3"), [
    "2:1 yaml-syntax Cannot read the recipe as YAML: flow sequence in block collection must be sufficiently indented and end with a ], wanted YAML 1.2",
  ]);
});

test("parseRecipe() refuses faulty versions, parents and names of parents", () => {
  const cases: [text: string, expected: string[]][] = [
    ["parents: { v3: a }\nbase: v3", ["missing-key"]],
    ["version: '1'\nparents: { v3: a }\nbase: v3", ["wrong-type"]],
    ["version: 1.5\nparents: { v3: a }\nbase: v3", ["unknown-version"]],
    ["version: 1.0\nparents: { v3: a }\nbase: v3", []],
    ["version: 1\nparents: {}\nbase: v3", ["empty-parents"]],
    ["version: 1\nparents: [a]\nbase: v3", ["wrong-type"]],
    ["version: 1\nparents:\nbase: v3", ["wrong-type"]],
    ["version: 1\nbase: v3", ["missing-key"]],
    ["version: 1\nparents: { v3: a }", ["missing-key"]],
    ["version: 1\nparents: { v3: a }\nbase:", ["wrong-type"]],
    ["version: 1\nparents: { v3: a }\nbase: [v3]", ["wrong-type"]],
    ["version: 1\nparents: { v3: a, v3: b }\nbase: v3", ["duplicate-key"]],
    ["version: 1\nparents: { v3: '  ' }\nbase: v3", ["wrong-type"]],
    ["version: 1\nparents: { v3: 7 }\nbase: v3", ["wrong-type"]],
    ["version: 1\nparents: { v3 }\nbase: v3", ["wrong-type"]],
    ["version: 1\nparents: { __proto__: a }\nbase: __proto__", ["bad-name"]],
    ["version: 1\nparents: { constructor: a }\nbase: constructor", ["bad-name"]],
    ["version: 1\nparents: { ä: a }\nbase: ä", ["bad-name"]],
    ["version: 1\nparents: { ? [a] : b, v3: c }\nbase: v3", ["wrong-type"]],
    ["version: 1\nparents: { v3: a, r1: b }\nbase: v3", ["no-rules"]],
    ["version: 1\nparents: { v3: a, r1: b }\nbase: v3\nrules: []", ["no-rules"]],
    ["version: 1\nparents: { v3: a, r1: b }\nbase: v3\nrules: []\ntokenizer: r2", ["unknown-parent"]],
    ["version: 1\nparents: { v3: a, r1: b }\nbase: v3\nrules:", ["wrong-type"]],
    ["version: 1\nparents: { v3: a }\nbase: v3\n<<: { rules: [] }", ["unknown-key"]],
    ["version: 1\nparents: { v3: a }\nbase: v3\nrules: [*r]", ["unknown-alias"]],
    ["version: 1\nparents: { v3: a }\nbase: v3\nrules: &r [*r]", ["recursive-alias"]],
  ];
  for (const [text, expected] of cases) {
    assert.deepEqual(
      problems(text).map(({ code }) => code),
      expected,
      text,
    );
  }
});

test("parseRecipe() refuses faulty selectors", () => {
  const cases: [tensors: string, expected: string[]][] = [
    ["{}", ["empty-selector"]],
    ["{ include_mtp: true }", ["empty-selector"]],
    ["[]", ["empty-list"]],
    ["[[router]]", ["wrong-type"]],
    ["7", ["wrong-type"]],
    ["''", ["wrong-type"]],
    ["other", ["unknown-role"]],
    ["{ role: 7 }", ["wrong-type"]],
    ["{ role: experts }", ["unknown-role"]],
    ["{ layer: 7 }", ["unknown-key"]],
    ["{ layers: 3- }", ["bad-range"]],
    ["{ layers: -3 }", ["bad-range"]],
    ["{ layers: 3.5 }", ["bad-range"]],
    ["{ layers: .nan }", ["bad-range"]],
    ["{ layers: '3-9, 20' }", ["bad-range"]],
    ["{ layers: [3-9, a] }", ["bad-range"]],
    ["{ layers: 99999999999999999999 }", ["bad-range"]],
    ["{ layers: [] }", ["empty-list"]],
    ["{ layers: true }", ["wrong-type"]],
    ["{ layers: }", ["wrong-type"]],
    ["{ layers: [[1]] }", ["wrong-type"]],
    ["{ experts: 9-2 }", ["bad-range"]],
    ["{ role: attention, experts: 2 }", ["contradiction"]],
    ["{ role: mtp, include_mtp: false }", ["contradiction"]],
    ["{ role: router, include_mtp: yes }", ["wrong-type"]],
    ["{ matrices: gate_proj }", ["wrong-type"]],
    ["{ matrices: [] }", ["empty-list"]],
    ["{ matrices: [1] }", ["wrong-type"]],
    ["{ matrices: [up_proj.weight] }", ["bad-matrix"]],
    ["{ name: '' }", ["wrong-type"]],
    ["{ name: 'a[' }", ["bad-glob"]],
    ["{ name: *experts* }", ["unknown-alias"]],
    ["{ name: [ab] }", ["wrong-type"]],
  ];
  for (const [tensors, expected] of cases) {
    assert.deepEqual(ruleCodes(`tensors: ${tensors}\nweights: { r1: 1 }`), expected, tensors);
  }
});

test("parseRecipe() refuses faulty weights, thresholds and outputs", () => {
  const cases: [rule: string, expected: string[]][] = [
    ["weights: { v3: 0, r1: 0 }", ["zero-weights"]],
    ["weights: { v3: [0, 0], r1: [0] }", ["zero-weights"]],
    ["weights: { v3: -1, r1: 1 }", []], // a difference: any sum is allowed
    ["weights: { v3: [1, -1], r1: [-1, 0, 1] }", []],
    ["weights: { v3: [1, 0], r1: 0 }", []],
    ["weights: { r1: 0 }", []],
    ["weights: { r1: 1.5 }", []],
    ["weights: { v3: 1 }", []],
    ["weights: { v3: 1 }\nthreshold: 0", ["pointless-threshold"]],
    ["weights: { r1: [0, 0] }\nthreshold: 0", ["pointless-threshold"]],
    ["weights: { r1: [0, 0.1] }\nthreshold: 0", []],
    ["weights: { r1: 1 }\nmeasure: relative", []],
    ["weights: { r1: 1 }\nthreshold: .nan", ["not-finite"]],
    ["weights: { r1: 1 }\nthreshold: 1e39", ["not-finite"]],
    ["weights: { r1: 1 }\nthreshold: none", ["wrong-type"]],
    ["weights: { r1: 1e300 }", ["not-finite"]],
    ["weights: { r1: -.inf }", ["not-finite"]],
    ["weights: { r1: [] }", ["empty-list"]],
    ["weights: { r1: [0, x] }", ["wrong-type"]],
    ["weights: { r1: [0, .nan] }", ["not-finite"]],
    ["weights: { r1: [[0]] }", ["wrong-type"]],
    ["weights: { r1: '1' }", ["wrong-type"]],
    ["weights: { r1: 1/2 }", ["wrong-type"]],
    ["weights: { r1: }", ["wrong-type"]],
    ["weights: { r1: 1, r1: 0 }", ["duplicate-key"]],
    ["weights: 0.5", ["wrong-type"]],
    ["weights: [0.5, 0.5]", ["wrong-type"]],
    ["weights: { r1: 1 }\nmethod: linear", []],
    ["weights: { r1: 1 }\nmethod: lineer", ["unknown-method"]],
    ["weights: { r1: 1 }\nmethod: dare_ties", ["unavailable-method"]],
    ["weights: { r1: 1 }\nmethod: [linear]", ["wrong-type"]],
  ];
  for (const [rule, expected] of cases) assert.deepEqual(ruleCodes(`tensors: all\n${rule}`), expected, rule);
  assert.deepEqual(codes("rules: [all]"), ["wrong-type"]);

  const outputs: [output: string, expected: string[]][] = [
    ["{ max_shard_size: 999 }", ["bad-shard-size"]],
    ["{ max_shard_size: 1e3 }", []],
    ["{ max_shard_size: 0.9KB }", ["bad-shard-size"]],
    ["{ max_shard_size: 1000.5 }", ["bad-shard-size"]],
    ["{ max_shard_size: .inf }", ["bad-shard-size"]],
    ["{ max_shard_size: -5GB }", ["bad-shard-size"]],
    ["{ max_shard_size: [5GB] }", ["wrong-type"]],
    ["{ max_shard_size: true }", ["wrong-type"]],
    ["{ dtype: fp8 }", ["unknown-dtype"]],
    ["{ dtype: }", ["wrong-type"]],
    ["{ shard_size: 5GB }", ["unknown-key"]],
    ["as-base", ["wrong-type"]],
  ];
  for (const [output, expected] of outputs) {
    assert.deepEqual(codes(`chat_template: r1\noutput: ${output}`), expected, output);
  }
});

test("parseRecipe() escapes what it quotes and shortens it", () => {
  const [problem] = problems(`${HEAD}chat_template: "\\e[31mred\\u009b${"x".repeat(500)}"`);
  assert.match(
    problem!.message,
    /^Cannot use the parent "\\u001b\[31mred\\u009bx+…": unknown, wanted "v3" or "r1"$/,
  );
  assert.ok(problem!.message.length < 160);
});

test("parseRecipe() says a shared fault once", () => {
  const rules = "rules:\n  - { tensors: all, weights: &w { r2: 1 } }\n  - { tensors: all, weights: *w }";
  assert.deepEqual(codes(rules), ["unknown-parent"]);
});
