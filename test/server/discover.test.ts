/** What is served, from what is named on the command line. */
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { discover } from "../../src/server/discover.ts";
import { writeRandomGguf } from "../gguf/random-gguf.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const brief = (...places: string[]) => discover(places, 7).map(({ id, kind, source }) => [id, kind, source]);

const fails = (places: string[], code: string, pattern: RegExp) =>
  assert.throws(
    () => discover(places),
    (error) => error instanceof CheckpointError && error.code === code && pattern.test(error.message),
  );

test("discover() takes a checkpoint, a recipe, and folders of either", () => {
  assert.deepEqual(brief("models/mini-r1", "recipes/mini/r1t.yaml"), [
    ["mini-r1", "checkpoint", "models/mini-r1"],
    ["r1t", "child", "recipes/mini/r1t.yaml"],
  ]);
  assert.deepEqual(brief("models/"), [
    ["mini-r1", "checkpoint", join("models", "mini-r1")],
    ["mini-r1-1776", "checkpoint", join("models", "mini-r1-1776")],
    ["mini-v3", "checkpoint", join("models", "mini-v3")],
  ]);
  assert.deepEqual(
    brief("recipes/mini").map(([id, kind]) => `${id} ${kind}`),
    ["attention-blend child", "r1t child", "r1t-half child", "three-parents child"],
  );
  assert.equal(discover(["models"], 7)[0]!.created, 7);
});

test("discover() gives a place the name that stands before it", () => {
  assert.deepEqual(brief("r1:latest=models/mini-r1", "half=recipes/mini/r1t-half.yaml"), [
    ["r1:latest", "checkpoint", "models/mini-r1"],
    ["half", "child", "recipes/mini/r1t-half.yaml"],
  ]);
});

test("discover() takes a folder with = in its name for a folder", (t) => {
  const folder = temporaryFolder(t);
  const place = join(folder, "a=b");
  symlinkSync(resolve("models/mini-r1"), place);
  assert.deepEqual(brief(place), [["a=b", "checkpoint", place]]);
});

test("discover() leaves other files alone: tasks, notes, folders without a config", (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, "notes"));
  writeFileSync(join(folder, "notes", "recipe.yaml"), "parents:\n");
  writeFileSync(join(folder, "readme.md"), "parents:\n");
  writeFileSync(join(folder, "task.yaml"), "questions: sums.jsonl\nscoring: {}\n");
  fails([folder], "empty", /no checkpoint and no recipe/);
  writeFileSync(join(folder, "child.yaml"), "# a recipe\nbase: v3\nparents: {}\n");
  assert.deepEqual(
    brief(folder).map(([id]) => id),
    ["child"],
  );
});

test("discover() takes checkpoints that lie elsewhere, under the last part of their names", () => {
  assert.deepEqual(
    brief("hf:org/a@main", "org-of-nobody/b", "https://u:p@host/c/?sig=x", "s3://bucket/d", "e=hf:org/a").map(
      ([id, kind]) => `${id} ${kind}`,
    ),
    ["a checkpoint", "b checkpoint", "c checkpoint", "d checkpoint", "e checkpoint"],
  );
});

test("discover() finds the GGUF files of a folder that can run, split ones once", async (t) => {
  const folder = temporaryFolder(t);
  const typeOf = () => "Q8_0" as const;
  await writeRandomGguf(folder, "whole", { typeOf, seed: 1 });
  await writeRandomGguf(folder, "split", { typeOf, seed: 2, parts: 3 });
  const other = readFileSync(join(folder, "whole.gguf"));
  other.write("llamatron", other.indexOf("deepseek2"), "latin1");
  writeFileSync(join(folder, "other.gguf"), other);
  writeFileSync(join(folder, "none.gguf"), "deepseek2");
  assert.deepEqual(brief(folder), [
    ["split-00001-of-00003.gguf", "checkpoint", join(folder, "split-00001-of-00003.gguf")],
    ["whole.gguf", "checkpoint", join(folder, "whole.gguf")],
  ]);
});

test("discover() refuses what is not there, and two of one name", () => {
  fails(["models/mini-r2"], "missing", /there is nothing/);
  fails(["x=models/mini-r2"], "missing", /models\/mini-r2/);
  fails(["models", "models/mini-v3"], "name-taken", /two models as "mini-v3"/);
  fails(["a=models/mini-v3", "a=models/mini-r1"], "name-taken", /two models as "a"/);
});
