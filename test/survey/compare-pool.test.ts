import assert from "node:assert/strict";
import { copyFileSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { batchesOf } from "../../src/survey/compare-batches.ts";
import { runPool } from "../../src/survey/compare-pool.ts";
import { openSide, type Pair, pairUp } from "../../src/survey/pair-up.ts";
import { Shards, type SideFiles } from "../../src/survey/shards.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { MINI_R1, MINI_V3, single } from "./mini.ts";

const pair = (shard: string, offset: number, byteLength = 100): Pair => ({
  ...{ name: `${shard}/${offset}`, place: { role: "other", matrix: "x", mtp: false } },
  ...{ shape: [byteLength / 4], elements: byteLength / 4, block: { rows: 128, cols: 128 } },
  base: { dtype: "F32", shard, offset, byteLength },
  other: { dtype: "F32", shard: "other", offset: 0, byteLength },
});

test("batchesOf() follows the base's files, has every pair once and leaves no worker with a long last batch", () => {
  const pairs = ["b", "a"].flatMap((shard) =>
    Array.from({ length: 50 }, (_, i) => pair(shard, 100 * (49 - i))),
  );
  const batches = batchesOf(pairs, ["b", "a"], 2);
  const order = batches.flat();
  assert.deepEqual(
    order.map(([index]) => index).toSorted((a, b) => a - b),
    [...pairs.keys()],
  );
  for (const [index, found] of order) assert.equal(found, pairs[index]);
  const names = order.map(([, { name }]) => name);
  assert.deepEqual([names[0], names[1], names[49], names[50]], ["b/0", "b/100", "b/4900", "a/0"]);
  assert.ok(
    batches.length >= 12 && Math.max(...batches.map(({ length }) => length)) <= 8,
    `${batches.length} batches`,
  );
  assert.deepEqual(batchesOf([], [], 4), []);
  assert.equal(batchesOf([pair("a", 0, 0)], ["a"], 4).length, 1, "a tensor without elements");
});

test("batchesOf() gives a large tensor a batch of its own", () => {
  const pairs = [pair("a", 0), pair("a", 100, 2 ** 30), pair("a", 200)];
  assert.deepEqual(
    batchesOf(pairs, ["a"], 1).map((batch) => batch.map(([index]) => index)),
    [[0, 1], [2]],
  );
});

test("runPool() notices a parent that changed since its header was read", async (t) => {
  const folder = single(temporaryFolder(t), "x", [1]);
  const side = await openSide(folder);
  const { pairs } = pairUp(side, side);
  utimesSync(join(folder, "model.safetensors"), 1, 1);
  const identities = { "model.safetensors": side.checkpoint.shards[0]!.identity! };
  const files: SideFiles = { location: folder, label: "it", identities };
  const options = {
    setup: { sides: [files, files] as [SideFiles, SideFiles], sample: undefined, kernels: "auto" as const },
  };
  const nothing = { workers: 1, onBytes() {}, onMeasured() {} };
  await assert.rejects(
    runPool(batchesOf(pairs, ["model.safetensors"], 1), { ...options, ...nothing }),
    (error) => error instanceof CheckpointError && error.code === "changed" && /of "it"/.test(error.message),
  );
});

test("Shards opens few files at a time, and reads the right one", async (t) => {
  const folder = temporaryFolder(t);
  const names = Array.from({ length: 40 }, (_, index) => `${index}.safetensors`);
  const from = { v3: MINI_V3, r1: MINI_R1 };
  for (const [index, name] of names.entries()) {
    const parent = index % 2 ? from.v3 : from.r1;
    copyFileSync(join(parent, "model-00001-of-000002.safetensors"), join(folder, name));
  }
  const { checkpoint } = await openSide(folder);
  const files: SideFiles = {
    ...{ location: folder, label: "many" },
    identities: Object.fromEntries(checkpoint.shards.map(({ name, identity }) => [name, identity!])),
  };
  const shards = new Shards([files, files]);
  const seen = new Set<string>();
  for (const index of [...names.keys(), 0, 1, 39]) {
    const operand = await shards.operand(pair(names[index]!, 0), 0);
    const bytes = new Uint8Array(400_000);
    await operand.source.read(bytes, 100_000);
    seen.add(`${index % 2}/${Buffer.from(bytes).toString("base64").slice(-2000)}`);
    assert.equal(operand.source.name, names[index]);
  }
  assert.equal(seen.size, 2);
  utimesSync(join(folder, names[39]!), 1, 1);
  await assert.rejects(
    shards.checkAndClose(),
    (error) => error instanceof CheckpointError && error.code === "changed",
  );
});
