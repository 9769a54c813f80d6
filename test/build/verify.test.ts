/** verify(): a clean child passes; whatever differs is found and named. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, readFileSync, renameSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { CheckpointError, Interrupted } from "../../src/base/errors.ts";
import { build } from "../../src/build/build.ts";
import type { VerifyEvent } from "../../src/build/events.ts";
import { verify } from "../../src/build/verify.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { GOLDEN, goldenRecipe, planOf, smallParent } from "./support.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
let plan: BuildPlan;
let child: string;
let original: Map<string, Buffer>;

before(async () => {
  // Copies from two parents, sums, tensors below a threshold.
  plan = await planRecipe(goldenRecipe("6-two-rules"));
  child = join(folder, "child");
  await build(plan, child);
  original = new Map(plan.shards.map(({ name }) => [name, readFileSync(join(child, name))]));
});

/** Changes the child for one call and puts it right again. */
async function withChanged<T>(
  name: string,
  bytes: Uint8Array | undefined,
  action: () => Promise<T>,
): Promise<T> {
  const path = join(child, name);
  const before = readFileSync(path);
  if (bytes) writeFileSync(path, bytes);
  else rmSync(path);
  try {
    return await action();
  } finally {
    writeFileSync(path, before);
  }
}

const findingsOf = async (options = {}) => (await verify(child, options)).findings;

describe("verify()", () => {
  test("passes a clean child, with a sample and with all", async () => {
    const report = await verify(child);
    assert.deepEqual([report.ok, report.findings, report.location], [true, [], child]);
    const { copied, merged } = plan.totals.tensors;
    assert.equal(report.checked.copied, copied);
    assert.equal(report.checked.shards, 2);
    assert.equal(report.checked.bytes, plan.totals.writeBytes);
    assert.equal(report.checked.recomputed, 16);
    const all = await verify(child, { all: true, kernels: "scalar" });
    assert.ok(
      all.ok && all.checked.recomputed === all.checked.merged && all.checked.merged > 80,
      JSON.stringify(all.checked),
    );
    assert.ok(merged > all.checked.merged); // a weight and its scale are one
  });

  test("names tensor, element, file and byte of any byte that is flipped", async () => {
    const at = fc.record({
      shard: fc.integer({ min: 0, max: 1 }),
      part: fc.nat(),
      position: fc.nat(),
      bit: fc.nat(7),
    });
    const kinds = new Set<string>();
    await fc.assert(
      fc.asyncProperty(at, async ({ shard: index, part, position, bit }) => {
        const shard = plan.shards[index]!;
        // Any byte of the header or of any tensor; one in six goes into the header.
        const { offset: begin, byteLength } =
          part % 6 === 0
            ? { offset: 0, byteLength: shard.dataStart }
            : shard.tensors[part % shard.tensors.length]!;
        const offset = begin + (position % byteLength);
        const bytes = Buffer.from(original.get(shard.name)!);
        bytes[offset]! ^= 1 << bit;
        const findings = await withChanged(shard.name, bytes, () => findingsOf());
        assert.equal(findings.length, 1, JSON.stringify(findings));
        const [finding] = findings;
        const tensor = shard.tensors.find(
          (each) => offset >= each.offset && offset < each.offset + each.byteLength,
        );
        assert.deepEqual(
          [finding!.file, finding!.tensor, finding!.code],
          [shard.name, tensor?.name, tensor ? "tensor" : "header"],
        );
        const hex = (byte: number) => `0x${byte.toString(16).padStart(2, "0")}`;
        const values = `byte ${offset} of "${shard.name}" is ${hex(bytes[offset]!)}, wanted ${hex(bytes[offset]! ^ (1 << bit))}`;
        assert.ok(finding!.message.includes(values), finding!.message);
        kinds.add(tensor ? `${tensor.action.kind} ${tensor.part}` : "header");
      }),
      { seed: 4, numRuns: 40 },
    );
    for (const kind of ["header", "copy weight", "merge weight"])
      assert.ok(kinds.has(kind), [...kinds].join());
  });

  test("names every tensor that differs, neighbours of one piece too", async () => {
    const shard = plan.shards[0]!;
    const chosen = shard.tensors.filter((_, i) => i % 5 === 0);
    const bytes = Buffer.from(original.get(shard.name)!);
    for (const { offset, byteLength } of chosen) {
      bytes[offset]! ^= 1;
      bytes[offset + byteLength - 1]! ^= 1;
    }
    const findings = await withChanged(shard.name, bytes, () => findingsOf());
    assert.deepEqual(findings.map(({ tensor }) => tensor).sort(), chosen.map(({ name }) => name).sort());
  });

  test("finds a scale that was changed, copied or computed", async () => {
    for (const kind of ["copy", "merge"] as const) {
      const shard = plan.shards.find(({ tensors }) =>
        tensors.some(({ part, action }) => part === "scale" && action.kind === kind),
      )!;
      const { name, offset } = shard.tensors.find(
        ({ part, action }) => part === "scale" && action.kind === kind,
      )!;
      const bytes = Buffer.from(original.get(shard.name)!);
      bytes[offset + 1]! ^= 2;
      const [finding] = await withChanged(shard.name, bytes, () => findingsOf());
      assert.equal(finding?.tensor, name);
      assert.match(finding!.message, /element \[0, 0\] differs/);
    }
  });

  test("finds a change even where chimera.json was changed to fit it", async () => {
    const shard = plan.shards[0]!;
    const copied = shard.tensors.find(({ action }) => action.kind === "copy")!;
    const bytes = Buffer.from(original.get(shard.name)!);
    bytes[copied.offset]! ^= 1;
    const record = JSON.parse(readFileSync(join(child, "chimera.json"), "utf8"));
    record.shards[0].sha256 = createHash("sha256").update(bytes).digest("hex");
    record.files["config.json"] = createHash("sha256").update("{}").digest("hex");
    const findings = await withChanged("chimera.json", Buffer.from(JSON.stringify(record)), () =>
      withChanged("config.json", Buffer.from("{}"), () => withChanged(shard.name, bytes, () => findingsOf())),
    );
    assert.deepEqual(
      findings.map(({ code, file, tensor }) => [code, file, tensor]),
      [
        ["tensor", shard.name, copied.name],
        ["file-source", "config.json", undefined],
      ],
    );
  });

  test("finds a hash that chimera.json has wrong, or lacks", async () => {
    for (const sha256 of ["0".repeat(64), undefined]) {
      const record = JSON.parse(readFileSync(join(child, "chimera.json"), "utf8"));
      if (sha256) record.shards[1].sha256 = sha256;
      else record.shards.pop();
      const findings = await withChanged("chimera.json", Buffer.from(JSON.stringify(record)), () =>
        findingsOf(),
      );
      assert.deepEqual(
        findings.map(({ code, file }) => [code, file]),
        [["shard-hash", plan.shards[1]!.name]],
      );
    }
  });

  test("finds shards that are cut, extended, missing, or too many", async () => {
    const { name } = plan.shards[0]!;
    const bytes = original.get(name)!;
    const codes = async () => (await findingsOf()).map(({ code, file }) => [code, file]);
    assert.deepEqual(await withChanged(name, bytes.subarray(0, -1), codes), [["shard-size", name]]);
    assert.deepEqual(await withChanged(name, Buffer.concat([bytes, Buffer.alloc(1)]), codes), [
      ["shard-size", name],
    ]);
    assert.deepEqual(await withChanged(name, new Uint8Array(0), codes), [["shard-size", name]]);
    assert.deepEqual(await withChanged(name, undefined, codes), [["missing-file", name]]);
    cpSync(join(child, name), join(child, "extra.safetensors"));
    assert.deepEqual(await codes(), [["extra-file", "extra.safetensors"]]);
    rmSync(join(child, "extra.safetensors"));
  });

  test("finds other files that are changed or missing", async () => {
    for (const name of ["config.json", "model.safetensors.index.json", "README.md"]) {
      const text = readFileSync(join(child, name));
      const changed = await withChanged(name, Buffer.concat([text, Buffer.from(" ")]), () => findingsOf());
      assert.deepEqual(
        changed.map(({ code, file }) => [code, file]),
        [["file-hash", name]],
      );
      assert.match(changed[0]!.message, /SHA-256 is [0-9a-f]{64}, chimera.json says [0-9a-f]{64}$/);
      const missing = await withChanged(name, undefined, () => findingsOf());
      assert.deepEqual(
        missing.map(({ code, file }) => [code, file]),
        [["missing-file", name]],
      );
    }
    const record = JSON.parse(readFileSync(join(child, "chimera.json"), "utf8"));
    delete record.files["config.json"];
    const findings = await withChanged("chimera.json", Buffer.from(JSON.stringify(record)), () =>
      findingsOf(),
    );
    assert.deepEqual(
      findings.map(({ code, file }) => [code, file]),
      [["plan", "config.json"]],
    );
  });

  test("does not mind what others put beside it", async () => {
    writeFileSync(join(child, "notes.txt"), "mine");
    assert.deepEqual(await findingsOf(), []);
    rmSync(join(child, "notes.txt"));
  });

  test("tells how far it is, and stops by its signal", async () => {
    const events: VerifyEvent[] = [];
    await verify(child, { onEvent: (event) => events.push(event) });
    const [shards, bytes] = [plan.shards.length, plan.totals.writeBytes];
    assert.deepEqual(events[0], { kind: "started", shards, bytes });
    const { seconds, ...finished } = events.at(-1) as { kind: "finished"; seconds: number };
    assert.deepEqual(finished, { kind: "finished", ok: true, shards, bytes });
    assert.ok(seconds > 0);
    let last = 0;
    for (const event of events) {
      if (event.kind !== "progress") continue;
      assert.ok(event.bytesDone >= last && event.bytesDone <= bytes && event.bytesTotal === bytes);
      last = event.bytesDone;
    }
    assert.equal(last, bytes);
    assert.ok(events.length < 40, `${events.length} events`); // not one for each of the tensors
    await assert.rejects(verify(child, { signal: AbortSignal.abort() }), Interrupted);
  });
});

describe("verify() of parents that are elsewhere, or others", () => {
  let [a, b] = ["", ""];
  let small: string;
  before(async () => {
    a = smallParent(join(folder, "a"), 1);
    b = smallParent(join(folder, "b"), 2);
    small = join(folder, "small");
    await build(
      await planOf({
        parents: { a, b },
        rules: "  - tensors: [routed-experts, norms]\n    weights: { b: 0.5 }",
      }),
      small,
    );
  });

  test("moved: says where they were wanted, and is content when told where they are", async () => {
    const moved = join(folder, "moved-b");
    renameSync(b, moved);
    try {
      await assert.rejects(verify(small), (error) => {
        assert.ok(error instanceof CheckpointError && error.code === "missing");
        assert.match(error.message, /^Parent "b" .*Cannot open/);
        assert.match(error.note!, /--parent name=folder/);
        return true;
      });
      assert.ok((await verify(small, { locations: { b: moved } })).ok);
      await assert.rejects(verify(small, { locations: { c: moved } }), { name: "PlanError" });
    } finally {
      renameSync(moved, b);
    }
  });

  test("with other headers: an error that names them", async () => {
    const other = smallParent(join(folder, "other-headers"), 2, {
      change: (tensors) => void tensors.delete("lm_head.weight"),
    });
    await assert.rejects(verify(small, { locations: { b: other } }), (error) => {
      assert.ok(error instanceof CheckpointError && error.code === "parents-changed");
      assert.match(
        error.message,
        /headers of parent "b" \(.+other-headers\) have digest [0-9a-f]{12}…, wanted [0-9a-f]{12}…/,
      );
      return true;
    });
  });

  test("with other numbers: a finding for each tensor that is made from them", async () => {
    const other = smallParent(join(folder, "other-numbers"), 3);
    const { findings } = await verify(small, { locations: { b: other } });
    assert.deepEqual([...new Set(findings.map(({ tensor }) => tensor!.replace("_scale_inv", "")))].sort(), [
      "model.layers.1.mlp.experts.0.up_proj.weight",
      "model.layers.1.mlp.experts.1.up_proj.weight",
      "model.norm.weight",
    ]);
  });

  test("touched, yet the same: content", async () => {
    const shard = join(a, "model-00001-of-000003.safetensors");
    utimesSync(shard, new Date(), new Date());
    assert.ok((await verify(small)).ok);
  });

  test("a recipe in chimera.json that was changed", async () => {
    const path = join(small, "chimera.json");
    const before = readFileSync(path, "utf8");
    writeFileSync(path, before.replace("b: 0.5", "b: 0.6"));
    await assert.rejects(verify(small), {
      code: "parents-changed",
      message: /the recipe now gives plan [0-9a-f]{12}…, the child was built from/,
    });
    writeFileSync(path, before);
  });
});

describe("verify() of what is no finished child", () => {
  test("a folder without chimera.json, an unfinished build, nothing", async () => {
    await assert.rejects(verify(join(GOLDEN, "parents/a")), {
      code: "not-a-child",
      message: /it holds no chimera.json/,
    });
    const unfinished = join(folder, "unfinished");
    await build(plan, unfinished, { part: { index: 0, count: 2 } });
    await assert.rejects(verify(unfinished), {
      code: "not-a-child",
      message: /it holds an unfinished build/,
    });
    await assert.rejects(verify(join(folder, "nothing")), CheckpointError);
  });

  test("a chimera.json that is half there", async () => {
    const half = join(folder, "half");
    cpSync(child, half, { recursive: true });
    truncateSync(join(half, "chimera.json"), 1000);
    await assert.rejects(verify(half), { code: "child-json" });
  });
});
