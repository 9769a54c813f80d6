/** The schema for editors: not stale, complete, and no stricter than the reader. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import fc from "fast-check";
import { parse, stringify } from "yaml";
import { taskSchema } from "../../src/tasks/schema.ts";
import { FORMATS, MODES, SCORING_KEYS, SCORINGS, TASK_KEYS } from "../../src/tasks/vocabulary.ts";
import { problemsOf } from "./support.ts";

const SCHEMA_FILE = "tasks/task.schema.json";
const validate = new Ajv2020({ strict: true, allowUnionTypes: true }).compile(taskSchema());

test("tasks/task.schema.json is not stale", () => {
  const text = `${JSON.stringify(taskSchema(), null, 2)}\n`;
  if (process.env.UPDATE_SCHEMA) writeFileSync(SCHEMA_FILE, text);
  const stale = `${SCHEMA_FILE} is stale: run this test with UPDATE_SCHEMA=1, then biome format --write ${SCHEMA_FILE}`;
  assert.deepEqual(JSON.parse(readFileSync(SCHEMA_FILE, "utf8")), JSON.parse(text), stale);
});

test("taskSchema() knows every key and every setting of a scoring", () => {
  const schema = taskSchema() as { properties: Record<string, { anyOf?: { properties?: object }[] }> };
  assert.deepEqual(Object.keys(schema.properties).sort(), [...TASK_KEYS].sort());
  const settings = schema.properties.scoring!.anyOf!.flatMap(({ properties }) =>
    Object.keys(properties ?? {}),
  );
  assert.deepEqual(
    [...new Set(settings)].sort(),
    ["kind", ...new Set(Object.values(SCORING_KEYS).flat())].sort(),
  );
});

test("taskSchema() refuses what it can see to be wrong", () => {
  for (const yaml of [
    "",
    "task: a",
    "data: a",
    "task: a b\ndata: d",
    "task: a\ndata: []",
    "task: a\ndata: d\nx: 1",
    "task: a\ndata: d\nscoring: fuzzy",
    "task: a\ndata: d\nscoring: { kind: regex }",
    "task: a\ndata: d\nscoring: { kind: exact, tolerance: 1 }",
    "task: a\ndata: d\ngeneration: { max_tokens: 0 }",
    "task: a\ndata: d\ngeneration: { top_p: 0 }",
  ])
    assert.ok(!validate(parse(yaml)), yaml);
});

test("taskSchema() accepts what loadTasks() accepts", async (t) => {
  const maybe = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: undefined });
  const word = fc.constantFrom("question", "question", "answer", "{{question}}!", " ", "x");
  const scoring = fc.constantFrom<unknown>(
    ...SCORINGS,
    { kind: "exact" },
    { kind: "contains", ignore_case: true },
    { kind: "numeric", tolerance: 0.5 },
    { kind: "numeric", tolerance: -1 },
    { kind: "regex", pattern: "(", flags: "i" },
    { kind: "regex", pattern: "a|b", flags: "ims" },
    { kind: "choice", method: "letter" },
    { kind: "choice", method: "likelihood", normalise: "bytes", delimiter: "" },
    { kind: "refusal", wanted: "decline" },
    { kind: "none", ignore_case: true },
  );
  const task = fc.record({
    task: fc.constantFrom<string | number>("a", "a.b", 3.1, "a b"),
    data: fc.constantFrom<string | string[]>("d.jsonl", "d.jsonl", ["d.jsonl"], []),
    format: maybe(fc.constantFrom(...FORMATS, "jsonl", "jsonl", "jsonl")),
    prompt: maybe(word),
    answer: maybe(word),
    mode: maybe(fc.constantFrom(...MODES)),
    scoring: maybe(scoring),
    generation: maybe(fc.constantFrom({}, { max_tokens: 5 }, { top_p: 1, stop: "x" }, { stop: [""] })),
  });
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(task, async (value) => {
      const yaml = stringify(JSON.parse(JSON.stringify(value)));
      const data = '{"question":"q","answer":1,"choices":["1","2"]}\n';
      const problems = await problemsOf(t, { "a.yaml": yaml, "d.jsonl": data });
      if (problems.length > 0) return;
      accepted++;
      assert.ok(validate(parse(yaml)), `${yaml} ${JSON.stringify(validate.errors)}`);
    }),
    { seed: 11, numRuns: 400 },
  );
  assert.ok(accepted > 20, `${accepted} accepted`);
});
