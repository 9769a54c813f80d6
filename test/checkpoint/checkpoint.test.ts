import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { openCheckpoint, openWholeCheckpoint, totalsByDtype } from "../../src/checkpoint/checkpoint.ts";
import { INDEX_NAME } from "../../src/checkpoint/shard-index.ts";
import { openLocation, openStore } from "../../src/checkpoint/stores.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { readCheckpointTensors, shardBytes, type TestTensor } from "../support/safetensors.ts";

const MINI = "models/mini-v3";

/** A tensor of 4 bytes. */
const tensor = (name: string): TestTensor => ({ name, dtype: "F32", shape: [1], bytes: new Uint8Array(4) });
const shard = (...names: string[]) => shardBytes(names.map(tensor));
const index = (map: Record<string, string>, totalSize?: number) =>
  JSON.stringify({ metadata: { total_size: totalSize }, weight_map: map });

test("openCheckpoint() knows every tensor of mini-v3, in the order of the index", async () => {
  const checkpoint = await openCheckpoint(openStore(MINI));
  const expected = readCheckpointTensors(MINI);
  assert.deepEqual(checkpoint.problems, []);
  assert.equal(checkpoint.label, "mini-v3");
  assert.equal(checkpoint.config?.model_type, "deepseek_v3");
  assert.equal(checkpoint.configText?.trimStart()[0], "{");
  assert.deepEqual([...checkpoint.tensors.keys()].sort(), [...expected.keys()].sort());
  for (const [name, { dtype, shape, byteLength }] of checkpoint.tensors) {
    const { dtype: wanted, shape: dims, bytes } = expected.get(name)!;
    assert.deepEqual([dtype, shape, byteLength], [wanted, dims, bytes.length], name);
  }
  const total = [...expected.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
  assert.equal(checkpoint.totalSize, total);
  assert.deepEqual(
    checkpoint.files.map(({ name }) => name),
    ["config.json", "generation_config.json", INDEX_NAME, "tokenizer.json", "tokenizer_config.json"],
  );
});

test("openCheckpoint() gives positions at which the tensors' bytes lie", async () => {
  const store = openStore(MINI);
  const expected = readCheckpointTensors(MINI);
  const { tensors } = await openCheckpoint(store);
  for (const { name, shard, offset, byteLength } of tensors.values()) {
    const source = await store.open(shard);
    const bytes = new Uint8Array(byteLength);
    await source.read(bytes, offset);
    await source.close();
    assert.deepEqual(bytes, expected.get(name)!.bytes, name);
  }
});

test("openLocation() opens a folder, its index, or one of its shards", async () => {
  const open = async (path: string) => {
    const { store, options } = openLocation(path);
    return openCheckpoint(store, options);
  };
  const whole = await open(MINI);
  assert.deepEqual((await open(`${MINI}/${INDEX_NAME}`)).tensors, whole.tensors);
  const one = await open(`${MINI}/model-00002-of-000002.safetensors`);
  assert.deepEqual(
    one.shards.map(({ name }) => name),
    ["model-00002-of-000002.safetensors"],
  );
  assert.ok(one.tensors.size > 0 && one.tensors.size < whole.tensors.size);
  assert.equal(one.hasIndex, false);
  assert.deepEqual(one.problems, []);
});

/** What index and shards can disagree in; opened whole, each is refused. */
const CONTRADICTIONS: [
  what: string,
  files: Record<string, Uint8Array | string>,
  problems: [code: string, says: RegExp][],
  unread?: string[],
][] = [
  [
    "a shard that is not there",
    {
      "1.safetensors": shard("a"),
      [INDEX_NAME]: index({ a: "1.safetensors", b: "2.safetensors", c: "2.safetensors" }),
    },
    [
      [
        "missing-shard",
        /Cannot open "2\.safetensors" of "parent": the index names it, the folder does not hold it/,
      ],
    ],
    ["b", "c"],
  ],
  [
    "an index without any shard",
    { [INDEX_NAME]: index({ a: "1.safetensors", b: "2.safetensors" }) },
    [
      ["missing-shard", /"1\.safetensors"/],
      ["missing-shard", /"2\.safetensors"/],
    ],
    ["a", "b"],
  ],
  [
    "a tensor of the index that is in no shard",
    { "1.safetensors": shard("a"), [INDEX_NAME]: index({ a: "1.safetensors", b: "1.safetensors" }) },
    [["not-in-shard", /"b" of "parent": the index says "1\.safetensors", which does not hold it/]],
  ],
  [
    "a tensor of a shard that is not in the index",
    { "1.safetensors": shard("a", "b"), [INDEX_NAME]: index({ a: "1.safetensors" }) },
    [["not-in-index", /"b" of "parent": it is in "1\.safetensors", the index does not name it/]],
  ],
  [
    "a tensor in another shard than the index says",
    {
      "1.safetensors": shard("a", "b"),
      "2.safetensors": shard("c"),
      [INDEX_NAME]: index({ a: "1.safetensors", b: "2.safetensors", c: "2.safetensors" }),
    },
    [["index-mismatch", /"b" of "parent": the index says "2\.safetensors", it is in "1\.safetensors"/]],
  ],
  [
    "a tensor in two shards",
    {
      "1.safetensors": shard("a", "b"),
      "2.safetensors": shard("b", "c"),
      [INDEX_NAME]: index({ a: "1.safetensors", b: "1.safetensors", c: "2.safetensors" }),
    },
    [["duplicate-tensor", /"b" of "parent": it is in "1\.safetensors" and in "2\.safetensors", wanted one/]],
  ],
  [
    "a tensor in two shards without index",
    { "1.safetensors": shard("a"), "2.safetensors": shard("a") },
    [
      ["duplicate-tensor", /"a" .* in "1\.safetensors" and in "2\.safetensors"/],
      ["no-index", /Found 2 shards/],
    ],
  ],
  [
    "a name with escape sequences in no shard",
    {
      "1.safetensors": shard("a"),
      [INDEX_NAME]: index({ a: "1.safetensors", "\u001b[2J": "1.safetensors" }),
    },
    [["not-in-shard", /"\\u001b\[2J" of "parent"/]],
  ],
];

describe("openCheckpoint() collects, and openWholeCheckpoint() refuses,", () => {
  for (const [what, files, problems, unread] of CONTRADICTIONS) {
    test(what, async () => {
      const store = new MemoryStore(files, { label: "parent" });
      const checkpoint = await openCheckpoint(store);
      assert.deepEqual(
        checkpoint.problems.map(({ code }) => code),
        problems.map(([code]) => code),
      );
      assert.deepEqual(checkpoint.unread, unread ?? []);
      for (const [i, [, says]] of problems.entries()) assert.match(checkpoint.problems[i]!.message, says);
      const harmful = problems.filter(([code]) => code !== "no-index");
      await assert.rejects(openWholeCheckpoint(store), (error) => {
        assert.ok(error instanceof CheckpointError);
        assert.equal(error.code, harmful[0]![0]);
        for (const [, says] of harmful) assert.match(error.message, says);
        return !/[^\P{Cc}\n]/u.test(error.message);
      });
    });
  }

  test("a thousand faults of one kind without hiding another", async () => {
    const names = Array.from({ length: 1000 }, (_, i) => `t${i}`);
    const map = Object.fromEntries([...names, "last"].map((name) => [name, "1.safetensors"]));
    const files = { "1.safetensors": shard("extra"), [INDEX_NAME]: index({ ...map, x: "2.safetensors" }) };
    await assert.rejects(openWholeCheckpoint(new MemoryStore(files)), (error: CheckpointError) => {
      const lines = error.message.split("\n");
      assert.equal(lines.length, 9);
      assert.match(error.message, /"extra".*the index does not name it/);
      assert.match(error.message, /"2\.safetensors".*the folder does not hold it/);
      assert.equal(lines.at(-1), "… and 995 more like these");
      return error.note === "The download may be partial";
    });
  });
});

/** What a report mentions and a build does not mind. */
const HARMLESS: [what: string, files: Record<string, Uint8Array | string>, code: string, says: RegExp][] = [
  [
    "several shards without index",
    { "1.safetensors": shard("a"), "2.safetensors": shard("b") },
    "no-index",
    /Found 2 shards in "parent" and no model/,
  ],
  [
    "a shard that the index does not name",
    { "1.safetensors": shard("a"), "2.safetensors": shard("b"), [INDEX_NAME]: index({ a: "1.safetensors" }) },
    "stray-shard",
    /Found "2\.safetensors" in "parent", which no index names/,
  ],
  [
    "a shard beside model.safetensors",
    { "model.safetensors": shard("a"), "x.safetensors": shard("a") },
    "stray-shard",
    /"x\.safetensors"/,
  ],
  [
    "a total_size that is neither of the sums",
    { "1.safetensors": shard("a"), [INDEX_NAME]: index({ a: "1.safetensors" }, 5) },
    "total-size",
    /Found total_size 5 in the index of "parent": its tensors hold 4 bytes, its shards \d+, wanted one of these/,
  ],
];

describe("openWholeCheckpoint() accepts", () => {
  for (const [what, files, code, says] of HARMLESS) {
    test(`${what}, and tells of it`, async () => {
      const { problems } = await openWholeCheckpoint(new MemoryStore(files, { label: "parent" }));
      assert.deepEqual(
        problems.map(({ code }) => code),
        [code],
      );
      assert.match(problems[0]!.message, says);
    });
  }

  test("a total_size that counts tensors, or whole files, or is not there", async () => {
    const bytes = shard("a");
    for (const total of [4, bytes.length, undefined]) {
      const store = new MemoryStore({
        "1.safetensors": bytes,
        [INDEX_NAME]: index({ a: "1.safetensors" }, total),
      });
      assert.deepEqual((await openWholeCheckpoint(store)).problems, []);
    }
  });

  test("hidden files that look like shards and indexes", async () => {
    const files = { "model.safetensors": shard("a"), "._model.safetensors": "x", [`._${INDEX_NAME}`]: "x" };
    const { tensors, problems } = await openWholeCheckpoint(new MemoryStore(files));
    assert.deepEqual([[...tensors.keys()], problems], [["a"], []]);
  });

  test("tensors named __proto__ and constructor", async () => {
    const map = `{"weight_map":{"__proto__":"1.safetensors","constructor":"1.safetensors"}}`;
    const store = new MemoryStore({ "1.safetensors": shard("constructor", "__proto__"), [INDEX_NAME]: map });
    assert.deepEqual([...(await openWholeCheckpoint(store)).tensors.keys()], ["__proto__", "constructor"]);
  });
});

test("openCheckpoint() of a tensor in two shards shows the one that the index names", async () => {
  const map = index({ a: "1.safetensors", b: "2.safetensors" });
  const files = { "1.safetensors": shard("a"), "2.safetensors": shard("a", "b"), [INDEX_NAME]: map };
  const { tensors } = await openCheckpoint(new MemoryStore(files));
  assert.equal(tensors.get("a")?.shard, "1.safetensors");
});

test("totalsByDtype() counts tensors, elements and bytes, also beside overflowing shapes", () => {
  const huge = [...Array<number>(31).fill(2 ** 53 - 1), 0];
  const totals = totalsByDtype([
    { dtype: "F32", shape: [2, 3], byteLength: 24 },
    { dtype: "BF16", shape: [], byteLength: 2 },
    { dtype: "F32", shape: huge, byteLength: 0 },
  ]);
  assert.deepEqual(
    [...totals],
    [
      ["F32", { tensors: 2, elements: 6, bytes: 24 }],
      ["BF16", { tensors: 1, elements: 1, bytes: 2 }],
    ],
  );
});
