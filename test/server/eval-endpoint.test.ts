/** `chimera eval` of a model here and of the same one behind the server: the same records, to the byte. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { callMain } from "../cli/run-main.ts";
import { startServed } from "../support/served.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const CHOICES = `task: cities
data: cities.jsonl
scoring: { kind: choice, method: likelihood, normalise: characters }
`;
const CITIES = [
  { question: "The capital of Spain is", choices: ["Madrid", "Tokyo", "the Grey Paper"], answer: "Madrid" },
  { question: "😀 é: The capital of Peru is", choices: ["Oslo", "Lima", "Zürich 😀"], answer: "Lima" },
];
const RAW = `task: raw
data: raw.jsonl
mode: raw
scoring: numeric
generation: { max_tokens: 60, stop: ["Good"] }
`;
const SUMS = [{ question: "<｜User｜>What is 17 + 25?<｜Assistant｜>", answer: 42 }];

for (const [place, id] of [
  ["models/mini-r1", "mini-r1"],
  ["recipes/mini/r1t.yaml", "r1t"],
] as const)
  test(`records of ${id} are the same here and behind the server`, async (t) => {
    const folder = temporaryFolder(t);
    const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
    const lines = (rows: object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
    write("cities.yaml", CHOICES);
    write("cities.jsonl", lines(CITIES));
    write("raw.yaml", RAW);
    write("raw.jsonl", lines(SUMS));
    const run = await startServed({ places: [place] });
    t.after(() => run.close());
    const tasks = ["tasks/mini/count.yaml", folder];
    for (const [name, target] of [
      ["here", place],
      ["there", `${run.url}/v1#${id}`],
    ] as const) {
      const options = ["-o", join(folder, name), "--progress", "none", "--threads", "1"];
      const { status, stderr } = await callMain(["eval", target, "--tasks", ...tasks, ...options]);
      assert.equal(status, 0, stderr);
    }
    const [here, there] = ["here", "there"].map((name) =>
      readFileSync(join(folder, name, "records.ndjson"), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line)),
    );
    assert.equal(here!.filter(({ likelihoods }) => likelihoods !== undefined).length, CITIES.length);
    assert.ok(here!.length > 20);
    for (const [i, { likelihoods, ...record }] of here!.entries()) {
      const { likelihoods: told, ...other } = there![i]!;
      assert.deepEqual(other, record);
      if (likelihoods === undefined) continue;
      for (const [at, value] of likelihoods.entries()) {
        const [a, b] = [value, told[at]].map((one) => (typeof one === "number" ? one : one.logLikelihood));
        assert.ok(Math.abs(a - b) < 1e-3, `${a}, ${b}`);
      }
    }
  });
