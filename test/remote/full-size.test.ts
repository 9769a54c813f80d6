/**
 * The real size without its bytes: two repositories with the headers of DeepSeek-V3 and R1, and a block of bytes of each
 * behind them, again and again. What an R1T needs of V3-0324 is 5 % of it (checkpoint-format.md section 9), in fewer
 * requests than the Hub allows anyone; and a part of it is built.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { layOutParent } from "../../bench/parents/layout.ts";
import { V3_CONFIG_TEXT } from "../../scripts/make-fullsize.ts";
import { build } from "../../src/build/build.ts";
import { encodeHeader } from "../../src/checkpoint/header.ts";
import type { BuildPlan, PlanTensor } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { networkReads } from "../../src/transfer/network.ts";
import { planNeeded, sizeOf } from "../../src/transfer/pull-plan.ts";
import { firstTimes } from "../support/hub/faults.ts";
import { TestHub, VirtualFile } from "../support/hub/hub-server.ts";
import { readShardTensors } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { isLargeFile, useHub } from "./use-hub.ts";

const RECIPE = `version: 1
parents: { v3: test/DeepSeek-V3-0324, r1: test/DeepSeek-R1 }
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
output: { max_shard_size: 100MB }
`;
/** What the child has from V3-0324, and from R1. */
const FROM_V3 = 34_506_422_848;
const FROM_R1 = 654_068_416_512;
/** Requests of five minutes that the Hub allows who is nobody. */
const HUB_LIMIT = 3000;

describe("parents of the real size on a Hub", () => {
  const hub = new TestHub();
  let headerBytes = 0;
  let plan: BuildPlan;
  /** Where each tensor of each parent lies: "repository tensor". */
  const content = new Map<string, { file: VirtualFile; from: number; byteLength: number }>();

  before(async () => {
    const layout = layOutParent(JSON.parse(V3_CONFIG_TEXT));
    const index = JSON.stringify({ metadata: {}, weight_map: Object.fromEntries(layout.weightMap) });
    for (const name of ["test/DeepSeek-V3-0324", "test/DeepSeek-R1"]) {
      const files = new Map<string, Uint8Array | VirtualFile>([
        ["config.json", Buffer.from(V3_CONFIG_TEXT)],
        ["model.safetensors.index.json", Buffer.from(index)],
      ]);
      const block = finiteBytes(name);
      for (const shard of layout.shards) {
        let offset = 0;
        const tensors = shard.tensors.map(({ name: tensor, dtype, shape, byteLength }) => {
          offset += byteLength;
          return { name: tensor, dtype, shape: [...shape], offset: offset - byteLength, byteLength };
        });
        const header = encodeHeader(tensors, new Map([["format", "pt"]]));
        headerBytes += header.length;
        const file = new VirtualFile(header, header.length + offset, { name, block });
        files.set(shard.name, file);
        for (const { name: tensor, offset, byteLength } of tensors)
          content.set(`${name} ${tensor}`, { file, from: header.length + offset, byteLength });
      }
      hub.add(name, files);
    }
    await hub.start();
  });
  after(() => hub.stop());
  useHub(hub);

  test("a plan reads headers, and nothing else of 1.4 TB", async () => {
    plan = await planRecipe(parseRecipe(RECIPE), {});
    const sent = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    const indexes = 2 * hub.repos.get("test/DeepSeek-R1")!.files.get("model.safetensors.index.json")!.length;
    assert.ok(sent <= headerBytes + indexes, `${sent} bytes, wanted ${headerBytes} of headers`);
    assert.ok(hub.log.length < 1500, `${hub.log.length} requests`);
    assert.deepEqual(plan.totals.readBytes, [FROM_V3, FROM_R1]);
  });

  test("and tells what the build will ask the network for", async () => {
    const reads = await networkReads(plan);
    assert.deepEqual(
      reads.map(({ parent, bytes }) => [parent, bytes >= FROM_V3]),
      [
        ["v3", true],
        ["r1", true],
      ],
    );
    const [v3, r1] = reads;
    assert.ok(v3!.bytes <= FROM_V3 * 1.0625 && r1!.bytes <= FROM_R1 * 1.0625, JSON.stringify(reads));
  });

  test("of V3-0324 it takes 5 % and some hundred requests", async () => {
    const needed = await planNeeded(plan, 0);
    const bytes = needed.shards.reduce((sum, { windows }) => sum + sizeOf(windows), 0);
    const least = FROM_V3 + headerBytes / 2;
    assert.ok(bytes >= least && bytes <= least * 1.0625, `${bytes} bytes, ${least} are needed`);
    assert.ok(needed.requests < HUB_LIMIT, `${needed.requests} requests`);
  });

  test("a shard of the child is built of the ranges that it needs, from a Hub that fails now and then", async (t) => {
    const index = plan.shards.findIndex(({ tensors }) => parentsOf(tensors).size === 2);
    const shard = plan.shards[index]!;
    hub.forget();
    hub.rules = [
      firstTimes(2, isLargeFile, { kind: "status", status: 503 }),
      firstTimes(2, isLargeFile, { kind: "cut", after: 100_000 }),
    ];
    const folder = temporaryFolder(t);
    await build(plan, folder, { workers: 1, part: { index, count: plan.shards.length } });
    hub.rules = [];

    const built = readFileSync(join(folder, shard.name));
    assert.equal(built.length, shard.byteLength);
    for (const [name, { bytes }] of readShardTensors(built)) {
      const from = /\.mlp\.experts\./.test(name) ? "test/DeepSeek-R1" : "test/DeepSeek-V3-0324";
      const wanted = content.get(`${from} ${name}`)!;
      const original = wanted.file.subarray(wanted.from, wanted.from + wanted.byteLength);
      assert.equal(Buffer.compare(bytes, original), 0, name);
    }
    const sent = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(sent >= shard.byteLength - shard.dataStart, `${sent} bytes`);
    assert.ok(sent <= shard.byteLength * 1.0625, `${sent} bytes for a shard of ${shard.byteLength}`);
  });
});

/** As codes, as scales and as BF16 these bytes are finite, and no scale is 0. Of prime length: no shift is a period. */
function finiteBytes(name: string): Uint8Array {
  const bytes = new Uint8Array(1_048_573);
  let state = createHash("sha256").update(name).digest().readUInt32LE(0);
  for (let i = 0; i < bytes.length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[i] = ((state >>> 24) & 0x77) | 0x10;
  }
  return bytes;
}

function parentsOf(tensors: readonly PlanTensor[]): Set<number> {
  return new Set(tensors.flatMap(({ action }) => (action.kind === "copy" ? [action.parent] : [])));
}
