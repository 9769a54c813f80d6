/** Reads and writes past the system's cache: the same child, whatever the sizes, and where a disk knows no such thing. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { mapLimited } from "../../src/base/map-limited.ts";
import { build } from "../../src/build/build.ts";
import { AlignedBuffers, AlignedReader } from "../../src/checkpoint/aligned-reader.ts";
import { openOutput, openStore } from "../../src/checkpoint/stores.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { runMain } from "../cli/run-main.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const RECIPE = `version: 1
parents: { v3: models/mini-v3, r1: models/mini-r1 }
base: v3
rules:
  - { tensors: routed-experts, weights: { r1: 1 } }
  - { tensors: attention, weights: { r1: 0.5 }, threshold: 0.001 }
`;

describe("--direct", () => {
  const folder = temporaryFolder({ after });
  let plan: BuildPlan;
  let wanted: string;

  before(async () => {
    plan = await planRecipe(parseRecipe(RECIPE), {});
    wanted = join(folder, "wanted");
    await build(plan, wanted);
  });

  const sizes: [number | undefined, number | undefined][] = [
    [undefined, undefined],
    [65536, 1],
    [100_000, 2],
    [1 << 20, 8],
    [65536, 16], // more than are kept
  ];
  for (const [readBytes, depth] of sizes) {
    test(`reads of ${readBytes ?? "usual"} bytes, ${depth ?? "usual"} at a time: the same child`, async () => {
      const child = join(folder, `child-${readBytes}-${depth}`);
      const direct = { ...(readBytes ? { readBytes } : {}), ...(depth ? { depth } : {}) };
      const report = await build(plan, child, { direct, workers: 2 });
      for (const name of readdirSync(wanted).filter((some) => some !== "chimera.json"))
        assert.ok(readFileSync(join(child, name)).equals(readFileSync(join(wanted, name))), name);
      // Tensors under a threshold are read twice, and the plan counts both.
      assert.ok(report.direct!.readBytes > 0.8 * plan.totals.readBytes.reduce((a, b) => a + b));
      assert.ok(report.direct!.directReadBytes <= report.direct!.readBytes);
      assert.equal(report.direct!.writtenBytes, plan.totals.writeBytes);
    });
  }

  test("says what it reached", () => {
    const args = ["build", join(folder, "wanted", ".."), "-o", join(folder, "cli")];
    assert.equal(runMain(...args, "--read-size", "8MiB").status, 2);
    const recipe = "recipes/mini/r1t.yaml";
    const { status, stdout, stderr } = runMain(
      "build",
      recipe,
      "-o",
      join(folder, "cli"),
      "--direct",
      "--read-size",
      "1MiB",
    );
    assert.equal(status, 0, stderr);
    assert.match(stdout, /read +[\d.]+ MB, [\d.]+ GB\/s, \d+ % past the cache/);
    assert.match(stdout, /wrote +[\d.]+ MB/);
    assert.equal(runMain("build", recipe, "-o", join(folder, "x"), "--direct", "--read-size", "1").status, 2);
  });

  test("any bytes of a file through aligned buffers", async () => {
    const name = "model-00001-of-000002.safetensors";
    const bytes = readFileSync(join("models/mini-r1", name));
    const source = await openStore("models/mini-r1").open(name, { direct: true });
    const reader = new AlignedReader(source, new AlignedBuffers(65536, 2, source.alignment));
    const place = fc.tuple(fc.nat(bytes.length), fc.nat(300_000));
    const check = async ([from, length]: [number, number]) => {
      const into = new Uint8Array(Math.min(length, bytes.length - from));
      await reader.read(into, from);
      assert.ok(bytes.subarray(from, from + into.length).equals(into));
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(place, { maxLength: 6 }),
        async (places) => void (await Promise.all(places.map(check))),
      ),
      { numRuns: 60, seed: 11 },
    );
    await source.close();
  });

  test("pieces in any order become the file", async () => {
    const output = openOutput(join(folder, "pieces"));
    await output.prepare();
    const source = await openStore(wanted).open("config.json", { direct: true });
    await source.read(new Uint8Array(new WebAssembly.Memory({ initial: 1 }).buffer), 0);
    const { isDirect } = source;
    await source.close();
    const run = async (cuts: number[], order: number) => {
      const length = 13_000_001;
      const content = new Uint8Array(length).map((_, i) => (i * 31 + (i >> 9)) & 255);
      const ends = [...new Set([0, ...cuts.map((cut) => cut % length), length])].sort((a, b) => a - b);
      const pieces = ends.slice(1).map((end, i) => [ends[i]!, end] as const);
      if (order % 2) pieces.reverse();
      const sink = await output.create(`file-${order}`, length, { direct: true });
      await Promise.all(pieces.map(([from, to]) => sink.write(content.subarray(from, to), from)));
      const back = new Uint8Array(length);
      await sink.read(back, 0);
      assert.ok(Buffer.from(back).equals(content));
      await sink.flush();
      await sink.publish();
      if (pieces.length < 4 && isDirect) assert.ok(sink.directBytes! >= 4 << 20, `${sink.directBytes} bytes`);
      assert.ok(readFileSync(join(folder, "pieces", `file-${order}`)).equals(content));
    };
    await run([], 0);
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(), { maxLength: 40 }), fc.nat(99), run), {
      numRuns: 12,
      seed: 5,
    });
  });

  test("writes that wait for a buffer together lose nothing", async () => {
    const output = openOutput(join(folder, "waiting"));
    await output.prepare();
    const content = new Uint8Array(100 << 20).map((_, i) => (i * 31 + (i >> 9)) & 255);
    for (const underWay of [2, 5, 50]) {
      const sink = await output.create("file", content.length, { direct: true });
      const ends = [...Array(25).keys()].map((i) => 1000 + i * (4 << 20)).concat(content.length);
      const pieces = ends.map((end, i) => [ends[i - 1] ?? 0, end] as const);
      await mapLimited(pieces, underWay, ([from, to]) => sink.write(content.subarray(from, to), from));
      await sink.flush();
      await sink.publish();
      assert.ok(readFileSync(join(folder, "waiting", "file")).equals(content), `${underWay} under way`);
    }
  });
});
