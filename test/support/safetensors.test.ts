import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { readCheckpointTensors, type TestTensor, writeCheckpoint } from "./safetensors.ts";
import { temporaryFolder } from "./temporary-folder.ts";

const TENSORS: TestTensor[] = [
  { name: "7", dtype: "F32", shape: [1], bytes: Uint8Array.of(1, 2, 3, 4) },
  { name: "b", dtype: "BF16", shape: [0, 3], bytes: new Uint8Array(0) },
  { name: "a", dtype: "U8", shape: [3], bytes: Uint8Array.of(5, 6, 7) },
];

test("writeCheckpoint() writes what openWholeCheckpoint() and readCheckpointTensors() read", async (t) => {
  const folder = join(temporaryFolder(t), "deep", "parent");
  const shards = [
    { name: "1.safetensors", tensors: TENSORS.slice(0, 2), metadata: { format: "pt", x: "y" } },
    { name: "2.safetensors", tensors: TENSORS.slice(2) },
  ];
  assert.equal(
    writeCheckpoint(folder, { config: { model_type: "x" }, shards, files: { "a.txt": "é" } }),
    folder,
  );
  const checkpoint = await openWholeCheckpoint(openStore(folder));
  assert.deepEqual(checkpoint.problems, []);
  assert.deepEqual(checkpoint.config, { model_type: "x" });
  assert.deepEqual([...checkpoint.tensors.keys()], ["7", "b", "a"]);
  assert.equal(checkpoint.totalSize, 7);
  assert.equal(checkpoint.shards[0]!.header!.metadata.get("x"), "y");
  assert.equal(readFileSync(join(folder, "a.txt"), "utf8"), "é");
  const expected = TENSORS.map(({ name, ...content }): [string, object] => [name, content]);
  assert.deepEqual(readCheckpointTensors(folder), new Map(expected));
});

test("writeCheckpoint() writes an index when there are several shards, or as it is told", (t) => {
  const written = (shards: number, index?: boolean | string) => {
    const folder = temporaryFolder(t);
    const all = Array.from({ length: shards }, (_, i) => ({ name: `${i}.safetensors`, tensors: [] }));
    writeCheckpoint(folder, { shards: all, ...(index === undefined ? {} : { index }) });
    return readdirSync(folder).includes("model.safetensors.index.json");
  };
  assert.deepEqual(
    [written(1), written(2), written(1, true), written(2, false), written(1, "x")],
    [false, true, true, false, true],
  );
});

test("readCheckpointTensors() refuses a tensor in two shards", (t) => {
  const folder = writeCheckpoint(temporaryFolder(t), {
    shards: [{ name: "1.safetensors", tensors: TENSORS }],
  });
  writeFileSync(join(folder, "2.safetensors"), readFileSync(join(folder, "1.safetensors")));
  assert.throws(() => readCheckpointTensors(folder), /"7" stands in two shards/);
});
