/** Bad input through the command line: the exit status, one clear error, nothing on stdout, nothing left. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { changing, poke, recipeText, smallParent } from "../build/support.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { runMain } from "./run-main.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
const RULES = "  - tensors: all\n    weights: { b: 1 }";
const GATE = "model.layers.0.mlp.gate_proj.weight";
const EMBEDDINGS = "model.embed_tokens.weight";
let [recipe, bad, odd] = ["", "", ""];
before(() => {
  const parents = {
    a: smallParent(join(folder, "parents/a"), 1),
    b: smallParent(join(folder, "parents/b"), 2),
    nan: smallParent(join(folder, "nan"), 2, { change: changing(EMBEDDINGS, (t) => poke(t, 1, 0x7fc0)) }),
    odd: smallParent(join(folder, "odd"), 2, {
      change: changing(GATE, (t) => ({ ...t, name: `${GATE}\u001b[31m` })),
    }),
  };
  const write = (name: string, b: string) => {
    writeFileSync(join(folder, name), recipeText({ parents: { a: parents.a, b }, rules: RULES }));
    return join(folder, name);
  };
  recipe = write("good.yaml", parents.b);
  bad = write("bad.yaml", parents.nan);
  odd = write("odd.yaml", parents.odd);
});

/** Runs a command that must fail, and gives its error. */
function failing(status: number, ...args: string[]): string {
  const result = runMain(...args);
  assert.equal(result.status, status, result.stderr);
  assert.equal(result.stdout, "");
  const errors = result.stderr.split("\n").filter((line) => line.startsWith("error: "));
  assert.equal(errors.length, 1, result.stderr);
  assert.doesNotMatch(result.stderr, /internal|\n {4}at /);
  return errors[0]!;
}

describe("chimera build, given bad input,", () => {
  test("ends with 3 for a value that is not finite, and leaves no folder", () => {
    const child = join(folder, "nan-child");
    const error = failing(3, "build", bad, "-o", child, "--workers", "1", "--json");
    assert.match(
      error,
      /"model\.embed_tokens\.weight": element \[0, 1\] of parent "b" in "model-00001-of-000003\.safetensors" is not finite, wanted/,
    );
    assert.equal(existsSync(child), false);
  });

  test("ends with 2 for a place that is none, or holds what is not ours", () => {
    writeFileSync(join(folder, "file"), "");
    mkdirSync(join(folder, "full/inner"), { recursive: true });
    const places: [string, RegExp][] = [
      [join(folder, "file"), /it is not a folder/],
      [join(folder, "file/child"), /file" is not a folder/],
      [join(folder, "parents"), /it holds parent "a"/],
      [join(folder, "full"), /it holds "inner", wanted an empty folder/],
      ["", /it is empty, wanted a folder/],
      ["hf://org/model", /"hf:" cannot be written, wanted a folder or s3:/],
    ];
    for (const [place, message] of places) {
      assert.match(failing(2, "build", recipe, "-o", place, "--json"), message);
    }
    assert.deepEqual(readdirSync(join(folder, "parents")), ["a", "b"]);
  });

  test("ends with 2 for a plan that points elsewhere", () => {
    const path = join(folder, "plan.json");
    assert.equal(runMain("plan", recipe, "-o", path).status, 0);
    const plan = { ...JSON.parse(runMain("plan", recipe, "--json").stdout), accounts: [{}] };
    writeFileSync(path, JSON.stringify(plan));
    const child = join(folder, "plan-child");
    assert.match(failing(2, "build", path, "-o", child), /accounts\[0\]\.parent is missing, wanted text/);
    assert.equal(existsSync(child), false);
  });
});

test("chimera plan ends with 2 for a place that cannot be written, in words", () => {
  const error = failing(2, "plan", recipe, "-o", join(folder, "no/plan.json"), "--json");
  assert.match(error, /Cannot write ".+\/no\/plan\.json": its folder is not there/);
  assert.match(failing(2, "plan", recipe, "-o", folder), /: it is a folder/);
});

test("chimera verify ends with 3 for a folder that is not there, and says so", () => {
  assert.match(failing(3, "verify", join(folder, "none")), /there is no such file or folder/);
});

test("chimera plan shows names from files without their escape sequences", () => {
  const { status, stdout, stderr } = runMain("plan", odd);
  assert.deepEqual([status, stdout], [2, ""]);
  assert.match(stderr, /gate_proj\.weight.\[31m" of "b"/);
  assert.ok(!stderr.includes("\u001b"));
});
