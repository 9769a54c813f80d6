/** Building into an object store: as any place to build in, whatever happens on the way, and nothing left behind. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { outputStoreSuite } from "../checkpoint/output-store.case.ts";
import { startMain } from "../cli/run-main.ts";
import { type Fault, firstTimes, type LoggedRequest } from "../support/hub/faults.ts";
import { sha256 } from "../support/hub/hub-server.ts";
import { TestS3 } from "../support/s3/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, MANY_SHARDS } from "./use-hub.ts";
import { useS3 } from "./use-s3.ts";

const isPart = ({ method, path }: LoggedRequest) => method === "PUT" && path.includes("partNumber=");
const isWrite = ({ method }: LoggedRequest) => method === "PUT" || method === "POST";

describe("an object store to build in", () => {
  const s3 = new TestS3();
  const folder = temporaryFolder({ after });
  const local = join(folder, "local");
  const recipe = join(folder, "recipe.yaml");
  let plan: BuildPlan;
  let places = 0;

  before(async () => {
    await s3.start();
    s3.bucket("children");
    writeFileSync(recipe, MANY_SHARDS);
    plan = await planRecipe(parseRecipe(MANY_SHARDS, { file: recipe }), {});
    await build(plan, local);
    assert.ok(plan.shards.length >= 9);
  });
  after(() => s3.stop());
  useS3(s3);
  beforeEach(() => {
    s3.rules = [];
    s3.log.length = 0;
    s3.denied.clear();
    s3.ignoresConditions = false;
  });

  outputStoreSuite("a prefix of a bucket", () => openOutput(`s3://children/suite/${places++}`), {
    isVersioned: true,
  });

  test("gets the child that a folder gets; verify proves it there, and nothing is left here", async () => {
    const report = await build(plan, "s3://children/r1t");
    assert.deepEqual([report.finished, report.location], [true, "s3://children/r1t"]);
    assertChild("r1t");
    assert.ok(s3.log.some(isPart), "a shard went in parts");
    assert.deepEqual(stagingFolders(), []);
    const { ok, checked } = await verify("s3://children/r1t", { all: true });
    assert.deepEqual([ok, checked.shards], [true, plan.shards.length]);
    const again = await build(plan, "s3://children/r1t");
    assert.deepEqual(again.shards, { total: plan.shards.length, written: 0, resumed: plan.shards.length });
  });

  test("in parts, from processes that share nothing but the bucket", async () => {
    const planFile = join(folder, "plan.json");
    writeFileSync(planFile, JSON.stringify(plan));
    const part = (index: number) => {
      const staging = join(folder, `staging-${index}`);
      mkdirSync(staging);
      const args = [
        "build",
        planFile,
        "-o",
        "s3://children/parts",
        "--part",
        `${index}/2`,
        "--staging",
        staging,
      ];
      return startMain([...args, "--progress", "none"]).result;
    };
    for (const { status, stderr } of await Promise.all([part(0), part(1)])) assert.equal(status, 0, stderr);
    assert.equal(s3.namesUnder("children", "parts").includes("config.json"), false);
    const { status, stdout, stderr } = await startMain(["build", "--finish", "-o", "s3://children/parts"])
      .result;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /finished {2}s3:\/\/children\/parts: \d+ shards joined\nnext: chimera verify s3:/);
    assertChild("parts");
  });

  test("two builds of one place at once: one of them is told", async () => {
    s3.rules = [(request) => (isPart(request) ? { kind: "slow", ms: 30 } : undefined)];
    const first = build(plan, "s3://children/both", { workers: 1 });
    await until(() => s3.log.some(isPart));
    await assert.rejects(build(plan, "s3://children/both"), { name: "BuildError", code: "locked" });
    await first;
    assertChild("both");
  });

  test("killed again and again, it goes on and ends the same; uploads that were cut off are freed", async () => {
    s3.rules = [(request) => (isPart(request) ? { kind: "slow", ms: 15 } : undefined)];
    const args = ["build", recipe, "-o", "s3://children/killed", "--workers", "2", "--progress", "none"];
    const shards = () =>
      s3.namesUnder("children", "killed").filter((name) => /^model.*safetensors$/.test(name));
    for (let had = 0; had < 6; ) {
      const { child, result } = startMain(args);
      await until(() => shards().length > had + 1 || child.exitCode !== null);
      child.kill("SIGKILL");
      await result;
      had = shards().length;
    }
    assert.ok(s3.uploads.size > 0 || stagingFolders().length > 0, "a kill leaves something to clean up");
    const { status, stderr } = await startMain(args).result;
    assert.equal(status, 0, stderr);
    assertChild("killed");
    assert.equal(s3.uploads.size, 0);
    assert.deepEqual(stagingFolders(), []);
  });

  const survived: [string, (request: LoggedRequest) => boolean, Fault, number][] = [
    ["503 SlowDown", () => true, { kind: "status", status: 503 }, 6],
    ["parts whose connection breaks", isPart, { kind: "cut", after: 0 }, 4],
    ["writes whose connection breaks", isWrite, { kind: "cut", after: 0 }, 6],
    [
      "500 when an upload is to be completed",
      ({ method, path }) => method === "POST" && path.includes("uploadId="),
      { kind: "status", status: 500 },
      3,
    ],
  ];
  for (const [what, matches, fault, times] of survived) {
    test(`survives ${what}`, async () => {
      const prefix = `survives-${what.replaceAll(/\W+/g, "-")}`;
      s3.rules = [firstTimes(times, matches, fault)];
      await build(plan, `s3://children/${prefix}`, { workers: 1 });
      assertChild(prefix);
      assert.equal(s3.uploads.size, 0);
    });
  }

  test("keys that may not write: says so, and nothing is half there", async () => {
    s3.denied.add("write");
    const { status, stderr } = await startMain(["build", recipe, "-o", "s3://children/denied"]).result;
    assert.equal(status, 3);
    assert.match(
      stderr,
      /Cannot write "s3:\/\/children\/denied\/\.chimera\/.*": the store says 403: these keys may not write it/,
    );
    assert.deepEqual(s3.namesUnder("children", "denied"), []);
    const missing = await startMain(["build", recipe, "-o", "s3://nowhere/x", "--dry-run"]).result;
    assert.equal(missing.status, 3);
    assert.match(missing.stderr, /there is no such bucket/);
  });

  test("a right that is lost on the way ends the build, which goes on when it is back", async () => {
    let parts = 0;
    s3.rules = [
      (request) =>
        isPart(request) && ++parts > 12
          ? { kind: "status", status: 403, body: "<Error><Code>AccessDenied</Code></Error>" }
          : undefined,
    ];
    await assert.rejects(build(plan, "s3://children/lost", { workers: 1 }), { code: "not-authorised" });
    const names = s3.namesUnder("children", "lost").filter((name) => name.endsWith(".safetensors"));
    assert.ok(names.length > 0 && names.length < plan.shards.length, names.join());
    for (const name of names) assert.equal(hashOf("lost", name), sha256(filesOf(local).get(name)!), name);
    s3.rules = [];
    const report = await build(plan, "s3://children/lost");
    assert.ok(report.shards.resumed >= names.length);
    assertChild("lost");
  });

  test("a store that ignores If-None-Match is no place for locks", async () => {
    s3.ignoresConditions = true;
    await assert.rejects(build(plan, "s3://children/unsafe"), {
      code: "bad-answer",
      message: /ignores If-None-Match/,
    });
    assert.deepEqual(s3.namesUnder("children", "unsafe"), []);
  });

  test("needs the disk of the shards in work, and no more lies there", async () => {
    const staging = join(folder, "measured");
    mkdirSync(staging);
    s3.rules = [(request) => (isPart(request) ? { kind: "slow", ms: 10 } : undefined)];
    let most = 0;
    const measure = () => {
      const files = readdirSync(staging, { recursive: true, withFileTypes: true }).filter((one) =>
        one.isFile(),
      );
      const sizes = files.map(
        ({ path, name }) => statSync(join(path, name), { throwIfNoEntry: false })?.size ?? 0,
      );
      most = Math.max(
        most,
        sizes.reduce((sum, size) => sum + size, 0),
      );
    };
    const timer = setInterval(measure, 3);
    await build(plan, "s3://children/measured", { workers: 2, staging });
    clearInterval(timer);
    const largest = Math.max(...plan.shards.map(({ byteLength }) => byteLength));
    assert.ok(most > 0 && most <= 2 * largest + 100_000, `${most} bytes lay there, a shard has ${largest}`);
    assert.deepEqual(readdirSync(staging), []);
    assertChild("measured");
  });

  test("files of others in the prefix are left alone", async () => {
    s3.put("children", "others/notes.txt", Buffer.from("mine"));
    await assert.rejects(build(plan, "s3://children/others"), { code: "not-empty" });
    s3.put("children", "others2/folder/notes.txt", Buffer.from("mine"));
    await assert.rejects(build(plan, "s3://children/others2"), {
      code: "not-empty",
      message: /it holds "folder"/,
    });
    assert.deepEqual(s3.namesUnder("children", "others2"), ["folder/notes.txt"]);
  });

  /** The prefix holds the child that was built into a folder, and nothing else. */
  function assertChild(prefix: string): void {
    const wanted = filesOf(local);
    assert.deepEqual(s3.namesUnder("children", prefix), [...wanted.keys()].sort());
    for (const [name, bytes] of wanted) assert.equal(hashOf(prefix, name), sha256(bytes), `${name} differs`);
  }

  function hashOf(prefix: string, name: string): string {
    return sha256(s3.bucket("children").get(`${prefix}/${name}`)!.bytes);
  }
});

function stagingFolders(): string[] {
  const names = existsSync(tmpdir()) ? readdirSync(tmpdir()) : [];
  return names.filter((name) => name.startsWith("chimera-staging-") && holdsFiles(join(tmpdir(), name)));
}

function holdsFiles(folder: string): boolean {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).some((entry) => entry.isFile());
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
