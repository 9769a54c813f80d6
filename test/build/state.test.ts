/** The state of an unfinished build, looked at while another part begins. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { beginState, isStateOf, readState } from "../../src/build/state.ts";
import type { OutputStore } from "../../src/checkpoint/source.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const plan = await planRecipe("recipes/mini/r1t.yaml");

test("readState() of a folder that another part is just marking is none or that part's, never damaged", async (t) => {
  const target = openOutput(join(temporaryFolder(t), "child"));
  await target.prepare();
  // The other part comes between the first look and whatever follows.
  let looks = 0;
  const raced: OutputStore = Object.create(target, {
    readSmall: {
      value: async (name: string, limit?: number) => {
        const bytes = await target.readSmall(name, limit);
        if (looks++ === 0) assert.equal(await beginState(target, plan), true);
        return bytes;
      },
    },
  });
  assert.equal(await readState(raced), undefined);
  assert.ok(isStateOf(await readState(raced), plan));
});

test("readState() waits for a file that is there before its content, and tells one that is damaged", async (t) => {
  const folder = join(temporaryFolder(t), "child");
  const target = openOutput(folder);
  await beginState(target, plan);
  const path = join(folder, ".chimera/state.json");
  const text = readFileSync(path, "utf8");
  writeFileSync(path, "");
  const waiting = readState(target);
  setTimeout(() => writeFileSync(path, text), 120);
  assert.ok(isStateOf(await waiting, plan));
  writeFileSync(path, text.slice(0, 20));
  assert.equal(await readState(target), "damaged");
});
