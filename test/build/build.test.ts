/** build(): which folders it takes, what it leaves there, and what it tells meanwhile. */
import assert from "node:assert/strict";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { BuildError, CheckpointError, Interrupted } from "../../src/base/errors.ts";
import { build } from "../../src/build/build.ts";
import type { BuildEvent } from "../../src/build/events.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import {
  assertNothingHalfWritten,
  changing,
  goldenRecipe,
  hashesOf,
  planOf,
  poke,
  recipeOf,
  smallParent,
} from "./support.ts";

const ends: (() => void)[] = [];
after(() => {
  for (const end of ends) end();
});
const folder = temporaryFolder({ after: (end) => ends.push(end) });
const RULES = "  - tensors: all\n    weights: { b: 0.5 }";
let [a, b] = ["", ""];
let plan: BuildPlan;
let other: BuildPlan;
let whole: Record<string, string>;
before(async () => {
  a = smallParent(join(folder, "a"), 1);
  b = smallParent(join(folder, "b"), 2);
  plan = await planOf({ parents: { a, b }, rules: RULES });
  other = await planOf({ parents: { a, b }, rules: RULES.replace("0.5", "0.25") });
  await build(plan, join(folder, "whole"));
  whole = hashesOf(join(folder, "whole"));
});

const fresh = (name: string) => join(folder, name);

const begun = new Map<BuildPlan, string>();

/** A build of two parts of three: an unfinished one. Of each plan one is made, the others are its copies. */
async function unfinished(name: string, of = plan): Promise<string> {
  const child = fresh(name);
  let first = begun.get(of);
  if (first === undefined) {
    first = fresh(`begun-${begun.size}`);
    await build(of, first, { part: { index: 0, count: 3 } });
    await build(of, first, { part: { index: 1, count: 3 } });
    begun.set(of, first);
  }
  cpSync(first, child, { recursive: true, preserveTimestamps: true });
  return child;
}

async function refuses(
  child: string,
  code: string,
  { of = plan, options = {}, message = /./ }: { of?: BuildPlan; options?: object; message?: RegExp } = {},
): Promise<void> {
  const before = existsSync(child) ? hashesOf(child) : undefined;
  await assert.rejects(build(of, child, options), (error) => {
    assert.ok(
      error instanceof BuildError || error instanceof CheckpointError,
      String((error as Error).stack),
    );
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
  assert.deepEqual(existsSync(child) ? hashesOf(child) : undefined, before, "something was changed");
}

describe("build() refuses", () => {
  test("a folder that is a parent or lies in one, by whatever way", async () => {
    const link = fresh("link-to-b");
    symlinkSync(b, link);
    mkdirSync(fresh("beside"), { recursive: true });
    for (const child of [
      a,
      b,
      join(a, "child"),
      join(a, "x/y/z"),
      `${fresh("beside")}/../a/child`,
      link,
      join(link, "child"),
      `${a}/`,
      `${a}/.`,
    ]) {
      await assert.rejects(
        build(plan, child),
        (error) => error instanceof BuildError && error.code === "inside-parent",
        child,
      );
    }
    const linked = await planOf({ parents: { a: link, b }, rules: RULES });
    await refuses(b, "inside-parent", { of: linked, message: /it is parent "a"/ });
    assert.deepEqual(readdirSync(a).length, 5);
    // A folder whose name only begins like a parent's is another.
    assert.equal((await build(plan, `${a}-child`)).finished, true);
  });

  test("a folder with files of others, also by force, and leaves them alone", async () => {
    const child = fresh("foreign");
    mkdirSync(child);
    writeFileSync(join(child, "thesis.txt"), "mine");
    await refuses(child, "not-empty", { message: /it holds "thesis.txt", wanted an empty folder/ });
    await refuses(child, "not-empty", { options: { force: true } });
    // A finished child beside which someone has put a file.
    const finished = fresh("foreign-in-child");
    await build(other, finished);
    writeFileSync(join(finished, "thesis.txt"), "mine");
    await refuses(finished, "not-empty");
    await refuses(finished, "not-empty", { options: { force: true } });
  });

  test("a file in place of the folder", async () => {
    const child = fresh("file");
    writeFileSync(child, "");
    symlinkSync(fresh("nowhere"), fresh("dead-link"));
    for (const [place, message] of [
      [child, /file": it is not a folder, wanted a folder/],
      [join(child, "x/y"), /file" is not a folder, wanted a folder/],
      [fresh("dead-link"), /it is a link that leads nowhere/],
      [join(fresh("dead-link"), "x"), /dead-link" is a link that leads nowhere/],
      [fresh("x".repeat(300)), /its name is too long/],
    ] as const) {
      await assert.rejects(build(plan, place), (error) => {
        assert.ok(error instanceof BuildError, String(error));
        assert.equal(error.code, "not-a-folder", error.message);
        assert.match(error.message, message);
        return true;
      });
    }
  });

  test("a folder around a parent, and one that holds a folder or a dead link", async () => {
    const around = fresh("around");
    const inner = smallParent(join(around, "deep/inner"), 4);
    const of = await planOf({ parents: { a: inner, b }, rules: RULES });
    await refuses(around, "inside-parent", { of, message: /around": it holds parent "a", wanted another/ });
    await refuses(around, "not-empty", { message: /it holds "deep", wanted an empty folder/ });
    const linked = fresh("holds-link");
    mkdirSync(linked);
    symlinkSync(fresh("nowhere"), join(linked, "link"));
    await refuses(linked, "not-empty", { message: /it holds "link"/ });
  });

  test("an unfinished build and a finished child of another plan", async () => {
    await refuses(await unfinished("other-unfinished", other), "other-build", {
      message: /it holds an unfinished build of plan [0-9a-f]{12}…, wanted/,
    });
    const finished = fresh("other-finished");
    await build(other, finished);
    await refuses(finished, "other-build", { message: /it holds a finished child of plan/ });
  });

  test("an unfinished build of the same plan whose parents were others: siblings share every header", async () => {
    const c = smallParent(fresh("c"), 3);
    const sibling = await planOf({ parents: { a, b: c }, rules: RULES });
    assert.equal(sibling.digest, plan.digest);
    await refuses(await unfinished("sibling"), "other-parents", {
      of: sibling,
      message: /an unfinished build whose parents were other files/,
    });
    // The same parent, changed in place and planned again.
    const child = await unfinished("touched-sibling", await planOf({ parents: { a, b: c }, rules: RULES }));
    utimesSync(join(c, "model-00001-of-000003.safetensors"), new Date(), new Date(Date.now() + 7000));
    await refuses(child, "other-parents", { of: await planOf({ parents: { a, b: c }, rules: RULES }) });
    // A finished child of the one is not that of the other.
    const finished = fresh("sibling-finished");
    await build(plan, finished);
    await refuses(finished, "other-parents", {
      of: sibling,
      message: /whose parent "b" lay in ".+\/b", wanted ".+\/c"/,
    });
    const again = await planOf({ parents: { a, b: c }, rules: RULES });
    assert.equal((await build(again, finished, { force: true })).shards.written, 3);
  });

  test("a finished child of the same plan that lost a file, or holds a shard of another size", async () => {
    const child = fresh("lost");
    await build(plan, child);
    for (const name of ["config.json", "README.md", plan.shards[1]!.name]) {
      renameSync(join(child, name), fresh("aside"));
      await refuses(child, "damaged", {
        message: new RegExp(`its file "${name}" is missing or has another size`),
      });
      renameSync(fresh("aside"), join(child, name));
    }
    truncateSync(join(child, plan.shards[0]!.name), 100);
    await refuses(child, "damaged");
    assert.equal((await build(plan, child, { force: true })).finished, true);
    assert.deepEqual(hashesOf(child), whole);
  });

  test("parents that have changed since they were planned, before anything is written", async () => {
    const c = smallParent(fresh("c-changing"), 3);
    const before = await planOf({ parents: { a, b: c }, rules: RULES });
    utimesSync(join(c, "model-00003-of-000003.safetensors"), new Date(), new Date(Date.now() + 9000));
    await refuses(fresh("never-1"), "changed", {
      of: before,
      message: /Cannot read "model-00003-of-000003.safetensors" of parent "b"/,
    });
    await refuses(fresh("never-1"), "changed", { of: before, options: { dryRun: true } });
    rmSync(c, { recursive: true });
    await refuses(fresh("never-1"), "missing", { of: before });
    assert.equal(existsSync(fresh("never-1")), false);
  });

  test("a part that is none", async () => {
    await assert.rejects(build(plan, fresh("never-2"), { part: { index: 3, count: 3 } }), RangeError);
    assert.equal(existsSync(fresh("never-2")), false);
  });
});

describe("build() of what is there already", () => {
  test("a finished child: says so and writes nothing", async () => {
    const child = fresh("whole");
    const report = await build(plan, child);
    assert.deepEqual(
      [report.finished, report.shards, report.writtenBytes],
      [true, { total: 3, written: 0, resumed: 3 }, 0],
    );
    assert.deepEqual(hashesOf(child), whole);
    assert.equal((await build(plan, child, { part: { index: 1, count: 3 } })).finished, true);
    assert.equal((await build(plan, child, { finish: true })).finished, true);
    assert.equal((await build(plan, child, { dryRun: true })).finished, true);
  });

  test("a finished child whose state was not yet removed: removes it", async () => {
    const child = fresh("unswept");
    await build(plan, child);
    mkdirSync(join(child, ".chimera"));
    const state = JSON.parse(
      readFileSync(join(await unfinished("state-giver"), ".chimera/state.json"), "utf8"),
    );
    writeFileSync(join(child, ".chimera/state.json"), JSON.stringify(state));
    assert.deepEqual((await build(plan, child)).shards, { total: 3, written: 0, resumed: 3 });
    assert.deepEqual(hashesOf(child), whole);
  });

  test("an unfinished build: writes what is missing", async () => {
    const child = await unfinished("resumed");
    const events: BuildEvent[] = [];
    const report = await build(plan, child, { onEvent: (event) => events.push(event) });
    assert.deepEqual(report.shards, { total: 3, written: 1, resumed: 2 });
    const [started] = events;
    assert.ok(started?.kind === "started");
    assert.deepEqual(started.resumed, {
      shards: 2,
      bytes: plan.shards[0]!.byteLength + plan.shards[1]!.byteLength,
    });
    assert.deepEqual(hashesOf(child), whole);
  });

  const damages: Record<string, [(child: string) => void, written: number]> = {
    "a shard is gone": [(child) => rmSync(join(child, plan.shards[0]!.name)), 2],
    "a shard is cut short": [(child) => truncateSync(join(child, plan.shards[0]!.name), 10), 2],
    "a record is gone": [(child) => rmSync(join(child, `.chimera/${plan.shards[0]!.name}.json`)), 2],
    "a record is half a record": [
      (child) => truncateSync(join(child, `.chimera/${plan.shards[0]!.name}.json`), 20),
      2,
    ],
    "a record is null": [
      (child) => writeFileSync(join(child, `.chimera/${plan.shards[0]!.name}.json`), "null"),
      2,
    ],
    "a record has no hash": [
      (child) =>
        writeFileSync(
          join(child, `.chimera/${plan.shards[0]!.name}.json`),
          JSON.stringify({ planDigest: plan.digest, sha256: "" }),
        ),
      2,
    ],
    "a record is of another plan": [
      (child) =>
        writeFileSync(
          join(child, `.chimera/${plan.shards[0]!.name}.json`),
          JSON.stringify({ planDigest: "x", sha256: "0".repeat(64), decided: {} }),
        ),
      2,
    ],
    "plan.json is gone": [(child) => rmSync(join(child, ".chimera/plan.json")), 1],
    "state.json and plan.json are gone": [
      (child) => {
        for (const name of readdirSync(child)) if (name.endsWith(".safetensors")) rmSync(join(child, name));
        rmSync(join(child, ".chimera/plan.json"));
        rmSync(join(child, ".chimera/state.json"));
      },
      3,
    ],
    "temporary files of a dead build lie about": [
      (child) => {
        writeFileSync(join(child, `.chimera/${plan.shards[2]!.name}.99999999-abc.tmp`), "half");
        writeFileSync(join(child, ".chimera/README.md.99999999-abc.tmp"), "half");
      },
      1,
    ],
  };
  for (const [name, [damage, written]] of Object.entries(damages)) {
    test(`an unfinished build where ${name}: ends as an undisturbed one`, async () => {
      const child = await unfinished(`damaged: ${name}`);
      damage(child);
      assert.equal((await build(plan, child)).shards.written, written);
      assert.deepEqual(hashesOf(child), whole);
    });
  }

  test("plan.json is written again when it is missing, for --finish without a recipe", async () => {
    const child = await unfinished("plan-lost");
    rmSync(join(child, ".chimera/plan.json"));
    await build(plan, child, { part: { index: 2, count: 3 } });
    assert.equal(JSON.parse(readFileSync(join(child, ".chimera/plan.json"), "utf8")).digest, plan.digest);
  });

  for (const text of ["", "{", "null", "[]", '{"planDigest": 5}', '{"planDigest": "x"}', "\0\0\0\0"]) {
    test(`a state of ${JSON.stringify(text)} is refused, and replaced by force`, async () => {
      const child = await unfinished(`state ${text.length} ${text.slice(0, 1).charCodeAt(0)}${text.length}`);
      writeFileSync(join(child, ".chimera/state.json"), text);
      await refuses(child, "bad-state");
      assert.equal((await build(plan, child, { force: true })).shards.written, 3);
      assert.deepEqual(hashesOf(child), whole);
    });
  }

  for (const text of [
    "{",
    "{}",
    '{"format":"chimera-child","version":1,"planDigest":"x","recipe":"","base":"a","parents":[null],"shards":[],"files":{}}',
    '{"format":"chimera-child","version":1,"planDigest":"x","recipe":"","base":"a","parents":[],"shards":[{}],"files":{}}',
  ]) {
    test(`a chimera.json of ${text.slice(0, 12)}… (${text.length}) is no child of ours: nothing is touched`, async () => {
      const child = fresh(`record-${text.length}`);
      mkdirSync(child);
      writeFileSync(join(child, "chimera.json"), text);
      await refuses(child, "child-json");
      await refuses(child, "child-json", { options: { force: true } });
    });
  }
});

describe("build() by force", () => {
  test("replaces an unfinished build of another plan, and not what others have put there", async () => {
    const child = await unfinished("forced", other);
    writeFileSync(join(child, "thesis.txt"), "mine");
    mkdirSync(join(child, "figures"));
    writeFileSync(join(child, "figures/1.png"), "mine too");
    await build(plan, child, { force: true });
    assert.deepEqual(hashesOf(child), {
      ...whole,
      "thesis.txt": hashesOf(child)["thesis.txt"],
      "figures/1.png": hashesOf(child)["figures/1.png"],
    });
    assert.equal(readFileSync(join(child, "thesis.txt"), "utf8"), "mine");
  });

  test("replaces a finished child of another plan, files that the new one has not included", async () => {
    const tagged = smallParent(fresh("tagged"), 1, {
      files: { "tokenizer.json": "{}", LICENSE: "free", "chat_template.jinja": "x" },
    });
    const child = fresh("forced-finished");
    const recipe = recipeOf({ parents: { a: tagged, b }, rules: RULES });
    recipe.output.maxShardSize = 500; // more shards, of other names
    await build(await planRecipe(recipe), child);
    assert.ok(existsSync(join(child, "chat_template.jinja")));
    await build(plan, child, { force: true });
    assert.deepEqual(hashesOf(child), whole);
  });

  test("replaces one that died while finishing, its half-done files included", async () => {
    const tagged = smallParent(fresh("tagged-2"), 1, { files: { "chat_template.jinja": "old" } });
    const old = await planOf({ parents: { a: tagged, b }, rules: RULES.replace("0.5", "0.75") });
    const child = fresh("died-finishing");
    await build(old, child, { part: { index: 0, count: 1 } });
    // Finishing has got as far as the template.
    writeFileSync(join(child, ".chimera/files.json"), '["chat_template.jinja", "../a/config.json"]');
    writeFileSync(join(child, "chat_template.jinja"), "old");
    await assert.rejects(build(plan, child, { force: true }), { code: "outside-folder" });
    writeFileSync(join(child, ".chimera/files.json"), '["chat_template.jinja"]');
    await build(plan, child, { force: true });
    assert.deepEqual(hashesOf(child), whole);
  });

  test("does nothing to the old one before the new one can be begun", async () => {
    const c = smallParent(fresh("c-forced"), 3);
    const gone = await planOf({ parents: { a, b: c }, rules: RULES });
    rmSync(c, { recursive: true });
    const child = fresh("kept");
    await build(other, child);
    await refuses(child, "missing", { of: gone, options: { force: true } });
    await build(plan, child, { force: true, dryRun: true });
    assert.equal(JSON.parse(readFileSync(join(child, "chimera.json"), "utf8")).planDigest, other.digest);
  });
});

describe("build() with dryRun", () => {
  test("writes nothing, not even the folder", async () => {
    const child = fresh("dry/deep/down");
    const report = await build(plan, child, { dryRun: true });
    assert.deepEqual([report.finished, report.writtenBytes, existsSync(fresh("dry"))], [false, 0, false]);
    const half = await unfinished("dry-half");
    const before = hashesOf(half);
    assert.equal((await build(plan, half, { dryRun: true })).shards.resumed, 2);
    assert.deepEqual(hashesOf(half), before);
  });
});

describe("a value that is not finite ends a build with nothing half-written", () => {
  for (const [name, weight] of [
    ["merged", 0.5],
    ["copied", 1],
  ] as const) {
    test(`${name}: tensor, parent and element are named`, async () => {
      const broken = smallParent(fresh(`nan-${name}`), 2, {
        change: changing("model.layers.1.mlp.experts.1.up_proj.weight", (t) => poke(t, 239, 0x7f)),
      });
      const bad = await planOf({
        parents: { a, b: broken },
        rules: `  - tensors: routed-experts\n    weights: { b: ${weight} }`,
      });
      const child = fresh(`nan-child-${name}`);
      await assert.rejects(build(bad, child, { workers: 2 }), (error) => {
        assert.ok(error instanceof CheckpointError);
        assert.match(
          error.message,
          /"model\.layers\.1\.mlp\.experts\.1\.up_proj\.weight": element \[19, 11\] of parent "b"/,
        );
        return true;
      });
      // The faulty shard is one of three: the others may be complete, or nothing is left at all.
      const left = existsSync(child) ? Object.keys(hashesOf(child)) : [];
      assert.deepEqual(
        left.filter((each) => /tmp$|\/lock/.test(each)),
        [],
      );
      const good = await planOf({
        parents: { a, b: broken },
        rules: "  - tensors: norms\n    weights: { b: 1 }",
      });
      await build(good, child, { force: true }); // whatever was complete is replaced
    });
  }

  test("nothing is left where nothing was complete, neither state nor folder; mended, it builds", async () => {
    const name = "model-00001-of-000003.safetensors";
    const broken = smallParent(fresh("nan-first"), 2, {
      change: changing("model.embed_tokens.weight", (t) => ({ ...t, bytes: t.bytes.fill(0xff) })),
    });
    const child = fresh("nan-first-child");
    const rules = "  - tensors: embeddings\n    weights: { b: 1 }";
    const bad = await planOf({ parents: { a, b: broken }, rules });
    await assert.rejects(build(bad, child, { workers: 1 }), { code: "not-finite" });
    assert.equal(existsSync(child), false);
    // A folder that was there stays, and parts leave the state to the others.
    mkdirSync(child);
    await assert.rejects(build(bad, child, { workers: 1 }), { code: "not-finite" });
    assert.deepEqual(readdirSync(child), []);
    await assert.rejects(build(bad, child, { part: { index: 0, count: 3 } }), { code: "not-finite" });
    assert.deepEqual(readdirSync(child), [".chimera"]);
    rmSync(child, { recursive: true });
    writeFileSync(join(broken, name), readFileSync(join(b, name)));
    assert.equal((await build(await planOf({ parents: { a, b: broken }, rules }), child)).finished, true);
  });

  test("a result beyond its type", async () => {
    const view = new DataView(new ArrayBuffer(4));
    view.setFloat32(0, 1e6);
    const large = smallParent(fresh("overflow"), 1, {
      change: changing("model.layers.1.mlp.gate.e_score_correction_bias", (t) => ({
        ...poke(t, 1, view.getUint32(0)),
        name: "model.layers.1.big",
      })),
    });
    const child = fresh("overflow-child");
    const f16 = await planOf({ parents: { a: large }, rest: "output: { dtype: f16 }\n" });
    await assert.rejects(build(f16, child), {
      name: "BuildError",
      code: "not-finite",
      message:
        'Cannot merge "model.layers.1.big": element [1] comes to 1000000, beyond the range of F16, wanted a finite number',
    });
    assert.ok(!existsSync(join(child, plan.shards[1]!.name)));
  });
});

describe("build() while it runs", () => {
  let many: BuildPlan;
  before(async () => {
    many = await planRecipe(goldenRecipe("2-routed-half", { maxShardSize: 60_000 }));
  });

  for (const workers of [1, 3]) {
    test(`tells what it does, in order, with ${workers} workers`, async () => {
      const child = fresh(`events-${workers}`);
      const events: BuildEvent[] = [];
      const report = await build(many, child, { workers, onEvent: (event) => events.push(event) });
      assert.ok(report.seconds > 0 && report.planDigest === many.digest && report.location === child);
      assert.equal(report.writtenBytes, many.totals.writeBytes);
      const kinds = events.map(({ kind }) => kind);
      assert.equal(kinds[0], "started");
      assert.deepEqual(kinds.slice(-2), ["finishing", "finished"]);
      assert.deepEqual([kinds.indexOf("started"), kinds.lastIndexOf("started")], [0, 0]);
      const started = events[0] as Extract<BuildEvent, { kind: "started" }>;
      assert.deepEqual(started, {
        kind: "started",
        shards: many.shards.length,
        bytes: many.totals.writeBytes,
        workers,
        resumed: { shards: 0, bytes: 0 },
      });
      let [bytes, shards] = [0, 0];
      for (const event of events) {
        if (event.kind !== "progress") continue;
        assert.ok(event.bytesDone >= bytes && event.shardsDone >= shards, "progress went back");
        assert.ok(event.bytesDone <= event.bytesTotal);
        [bytes, shards] = [event.bytesDone, event.shardsDone];
      }
      assert.deepEqual([bytes, shards], [many.totals.writeBytes, many.shards.length]);
      const written = events.filter((event) => event.kind === "shard-written");
      assert.deepEqual(written.map(({ shard }) => shard).sort(), many.shards.map(({ name }) => name).sort());
      const hashes = hashesOf(child);
      for (const { shard, sha256 } of written) assert.equal(hashes[shard], sha256);
    });
  }

  test("stops by its signal, keeps what is complete and resumes", async () => {
    const child = fresh("aborted");
    const reference = fresh("not-aborted");
    await build(many, reference);
    const controller = new AbortController();
    let written = 0;
    const onEvent = (event: BuildEvent) => {
      if (event.kind === "shard-written" && ++written === 3) controller.abort();
    };
    await assert.rejects(build(many, child, { workers: 2, signal: controller.signal, onEvent }), Interrupted);
    assert.ok(written >= 3 && written < many.shards.length);
    assertNothingHalfWritten(child, hashesOf(reference));
    assert.deepEqual(
      readdirSync(join(child, ".chimera")).filter((name) => /tmp$|^lock/.test(name)),
      [],
    );
    assert.equal((await build(many, child)).shards.resumed, written);
    assert.deepEqual(hashesOf(child), hashesOf(reference));
  });

  test("a signal that fired before stops it at once", async () => {
    await assert.rejects(build(many, fresh("aborted-before"), { signal: AbortSignal.abort() }), Interrupted);
    const complete = fresh("complete-before-finish");
    await build(plan, complete, { part: { index: 0, count: 1 } });
    await assert.rejects(build(plan, complete, { signal: AbortSignal.abort() }), Interrupted);
    assert.equal(existsSync(join(complete, "chimera.json")), false);
  });

  test("an error of the caller's listener ends it, and the folder can be resumed", async () => {
    for (const kind of ["progress", "shard-written", "started", "finishing", "finished"]) {
      const child = fresh(`listener-${kind}`);
      const onEvent = (event: BuildEvent) => {
        if (event.kind === kind) throw new Error("listener");
      };
      await assert.rejects(build(many, child, { workers: 2, onEvent }), { message: "listener" });
      assert.ok(
        !existsSync(join(child, ".chimera")) ||
          readdirSync(join(child, ".chimera")).every((name) => !/tmp$|^lock/.test(name)),
      );
      assert.equal((await build(many, child)).finished, true);
    }
  });

  test("a second one of the same plan is locked out, and the first not disturbed", async () => {
    const child = fresh("twice");
    const first = build(many, child, { workers: 1 });
    const second = build(many, child, { workers: 1 }).then(
      () => "built",
      (error: BuildError) => error.code,
    );
    await first;
    assert.equal(await second, "locked");
    assert.deepEqual(hashesOf(child), hashesOf(fresh("not-aborted")));
  });

  test("a second one of another plan is refused, and the first not disturbed", async () => {
    const child = fresh("twice-other");
    const [first, second] = await Promise.allSettled([
      build(many, child, { workers: 1 }),
      build(plan, child, { workers: 1 }),
    ]);
    const failed = [first, second].filter(({ status }) => status === "rejected");
    assert.equal(failed.length, 1);
    assert.equal(((failed[0] as PromiseRejectedResult).reason as BuildError).code, "other-build");
    const hashes = hashesOf(child);
    assert.deepEqual(hashes, first.status === "fulfilled" ? hashesOf(fresh("not-aborted")) : whole);
  });
});
