/**
 * chimera build --push: shards on the Hub as they are finished, and with --discard-local no more of them on the disk than
 * was said; killed anywhere, the repository ends as that of an undisturbed build.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { verify } from "../../src/build/verify.ts";
import { writeFileAtomically } from "../../src/checkpoint/node.ts";
import type { BuildPlan } from "../../src/plan/plan.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { push } from "../../src/transfer/push.ts";
import { openShardPush } from "../../src/transfer/push-shards.ts";
import { startMain } from "../cli/run-main.ts";
import { firstTimes, type LoggedRequest } from "../support/hub/faults.ts";
import { type HubRepo, sha256, TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, MANY_SHARDS, useWritableHub } from "./use-hub.ts";

const isUpload = ({ method, path }: LoggedRequest) => method === "PUT" && path.startsWith("/upload/");
const isCommit = ({ method, path }: LoggedRequest) => method === "POST" && /\/commit\//.test(path);
const isShard = (name: string) => name.endsWith(".safetensors");

describe("a build that is pushed", () => {
  const hub = new TestHub({ lfsBytes: 1 << 16 });
  const folder = temporaryFolder({ after });
  const local = join(folder, "local");
  const recipe = join(folder, "recipe.yaml");
  let plan: BuildPlan;

  before(async () => {
    await hub.start();
    await writeFileAtomically(recipe, MANY_SHARDS);
    plan = await planRecipe(parseRecipe(MANY_SHARDS, { file: recipe }), {});
    await build(plan, local);
    assert.ok(plan.shards.length >= 9, `${plan.shards.length} shards`);
  });
  after(() => hub.stop());
  useWritableHub(hub);

  test("with --discard-local never has more shards on the disk than was said", async () => {
    const to = join(folder, "bounded");
    const largest = Math.max(...plan.shards.map(({ byteLength }) => byteLength));
    const whole = plan.totals.writeBytes;
    let [mostShards, mostBytes] = [0, 0];
    const measure = () => {
      const { names, bytes } = weigh(to);
      mostShards = Math.max(mostShards, names.length);
      mostBytes = Math.max(mostBytes, bytes);
    };
    // Uploads are slower than the build: without a bound all of it would wait on the disk.
    hub.rules = [(request) => (isUpload(request) ? { kind: "slow", ms: 60 } : undefined)];
    const timer = setInterval(measure, 3);
    const outlet = await openShardPush(plan, "chimera/bounded", { discardLocal: true, mostLocal: 3 });
    const report = await build(plan, to, { outlet, workers: 2, onEvent: measure });
    clearInterval(timer);
    assert.equal(report.finished, true);
    assert.ok(mostShards >= 2 && mostShards <= 3, `${mostShards} shards lay there at a time`);
    assert.ok(mostBytes <= 3 * largest && mostBytes < whole / 2, `${mostBytes} bytes of ${whole}`);
    assert.deepEqual(weigh(to).names, []);
    assert.equal(existsSync(join(to, ".chimera")), false);
    assertEquals(hub.repos.get("chimera/bounded")!);
    assert.equal((await verify("hf:chimera/bounded", { all: true })).ok, true);
  });

  test("without it the files stay, and both are the same child", async () => {
    const to = join(folder, "kept");
    await build(plan, to, { outlet: await openShardPush(plan, "chimera/kept") });
    assertEquals(hub.repos.get("chimera/kept")!);
    assert.deepEqual(readdirSync(to).sort(), readdirSync(local).sort());
    for (const name of readdirSync(local))
      assert.ok(readFileSync(join(to, name)).equals(readFileSync(join(local, name))), name);
  });

  test("says last that it is a checkpoint", async () => {
    const repo = () => hub.repos.get("chimera/last");
    const seen: number[] = [];
    hub.rules = [
      (request) => {
        if (isCommit(request) && repo()) {
          const names = [...repo()!.files.keys()];
          assert.deepEqual(
            names.filter((name) => /config|index|chimera|README/.test(name)),
            [],
          );
          seen.push(names.filter(isShard).length);
        }
        return undefined;
      },
    ];
    const outlet = await openShardPush(plan, "chimera/last", { discardLocal: true, mostLocal: 2 });
    await build(plan, join(folder, "last"), { outlet, workers: 1 });
    assert.equal(seen.at(-1), plan.shards.length);
    assert.ok(seen.length > 3);
  });

  test("stopped, it goes on: what is on the Hub is neither built nor sent again", async () => {
    const to = join(folder, "stopped");
    const stop = new AbortController();
    const options = { discardLocal: true, mostLocal: 2, signal: stop.signal };
    let commits = 0;
    const outlet = await openShardPush(plan, "chimera/stopped", {
      ...options,
      onEvent: (event) => {
        if (event.kind === "committed" && ++commits === 3) stop.abort();
      },
    });
    await assert.rejects(build(plan, to, { outlet, workers: 1, signal: stop.signal }), {
      name: "Interrupted",
    });
    const repo = hub.repos.get("chimera/stopped")!;
    const before = [...repo.files.keys()].filter(isShard).length;
    assert.ok(before >= 3 && before < plan.shards.length);
    const again = await openShardPush(plan, "chimera/stopped", { discardLocal: true, mostLocal: 2 });
    const report = await build(plan, to, { outlet: again, workers: 1 });
    assert.ok(report.shards.resumed >= before, `${report.shards.resumed} resumed, ${before} were there`);
    assertEquals(repo);
    const once = await openShardPush(plan, "chimera/stopped", { discardLocal: true });
    hub.forget();
    await assert.rejects(push(to, "chimera/elsewhere"), {
      code: "damaged",
      message: /not in the repository/,
    });
    assert.equal(hub.repos.has("chimera/elsewhere"), false);
    const pushed = await push(to, "chimera/stopped"); // of what is here no more it asks nothing
    assert.deepEqual([pushed.commits, pushed.present.files.length], [[], readdirSync(local).length]);
    hub.forget();
    const complete = await build(plan, to, { outlet: once });
    assert.deepEqual([complete.finished, complete.shards.written], [true, 0]);
    assert.deepEqual(
      hub.log.filter(({ method }) => method !== "GET"),
      [],
    );
  });

  test("killed again and again, the repository ends the same", async () => {
    const to = join(folder, "killed");
    const args = [
      "build",
      recipe,
      "-o",
      to,
      "--push",
      "chimera/killed",
      "--discard-local",
      "--local-shards",
      "2",
    ];
    hub.rules = [(request) => (isUpload(request) ? { kind: "slow", ms: 20 } : undefined)];
    for (let had = 0; had < 6; ) {
      const { child, result } = startMain([...args, "--progress", "none"]);
      const wanted = had + 2;
      await until(() => countShards(hub.repos.get("chimera/killed")) >= wanted || child.exitCode !== null);
      child.kill("SIGKILL");
      await result;
      had = countShards(hub.repos.get("chimera/killed"));
    }
    const { status, stdout, stderr } = await startMain([...args, "--progress", "none"]).result;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /pushed {2}hf:chimera\/killed\nnext: chimera verify hf:chimera\/killed/);
    assertEquals(hub.repos.get("chimera/killed")!);
    assert.deepEqual(weigh(to).names, []);
  });

  test("in parts that push at the same time to the same repository", async () => {
    const to = join(folder, "parts");
    const part = async (index: number) => {
      const outlet = await openShardPush(plan, "chimera/parts", { discardLocal: true, mostLocal: 2 });
      return build(plan, to, { outlet, part: { index, count: 2 }, workers: 1 });
    };
    await Promise.all([part(0), part(1)]);
    const repo = hub.repos.get("chimera/parts")!;
    assert.equal(countShards(repo), plan.shards.length);
    assert.equal(repo.files.has("config.json"), false);
    const outlet = await openShardPush(plan, "chimera/parts", { discardLocal: true });
    assert.equal((await build(plan, to, { outlet, finish: true })).finished, true);
    assertEquals(repo);
  });

  test("a finished child is sent, and freed, without being built again", async () => {
    const to = join(folder, "finished");
    await build(plan, to);
    const outlet = await openShardPush(plan, "chimera/finished", { discardLocal: true });
    const report = await build(plan, to, { outlet });
    assert.equal(report.shards.written, 0);
    assertEquals(hub.repos.get("chimera/finished")!);
    assert.deepEqual(weigh(to).names, []);
  });

  test("survives what servers do", async () => {
    hub.rules = [
      firstTimes(3, isUpload, { kind: "status", status: 503 }),
      firstTimes(2, isCommit, { kind: "status", status: 502 }),
    ];
    const outlet = await openShardPush(plan, "chimera/survives", { discardLocal: true, mostLocal: 2 });
    await build(plan, join(folder, "survives"), { outlet });
    assertEquals(hub.repos.get("chimera/survives")!);
  });

  test("ends when nothing can be sent, keeps what is complete, and says why", async () => {
    const to = join(folder, "refused");
    let commits = 0;
    hub.rules = [
      (request) =>
        isCommit(request) && ++commits > 2
          ? {
              kind: "status",
              status: 403,
              headers: { "content-type": "application/json" },
              body: '{"error":"quota"}',
            }
          : undefined,
    ];
    const outlet = await openShardPush(plan, "chimera/refused", { discardLocal: true, mostLocal: 3 });
    await assert.rejects(build(plan, to, { outlet, workers: 1 }), {
      code: "not-authorised",
      message: /the token may not write there \(quota\)/,
    });
    assert.ok(weigh(to).names.length <= 3);
    hub.rules = [];
    const again = await openShardPush(plan, "chimera/refused", { discardLocal: true, mostLocal: 3 });
    const report = await build(plan, to, { outlet: again });
    assert.ok(report.shards.resumed >= 2);
    assertEquals(hub.repos.get("chimera/refused")!);
  });

  test("does not write over another checkpoint's shards", async () => {
    const name = plan.shards[0]!.name;
    const repo = hub.add("chimera/taken", new Map([[name, Buffer.alloc(1 << 17)]]));
    const to = join(folder, "taken");
    const outlet = await openShardPush(plan, "chimera/taken", { discardLocal: true, mostLocal: 2 });
    await assert.rejects(build(plan, to, { outlet, workers: 1 }), { code: "not-empty" });
    assert.equal(repo.messages.length, 1);
    const forced = await openShardPush(plan, "chimera/taken", { discardLocal: true, force: true });
    await build(plan, to, { outlet: forced });
    assertEquals(repo);
    hub.add("chimera/stranger", new Map([["model-00001-of-00009.safetensors", Buffer.alloc(1 << 17)]]));
    await assert.rejects(openShardPush(plan, "chimera/stranger"), { code: "not-empty" });
  });

  test("needs the disk of the shards that may lie there, not of all", async () => {
    // A hundred times the free disk is wanted for the whole; two shards fit.
    const huge = structuredClone(plan);
    const { statfsSync } = await import("node:fs");
    const { bavail, bsize } = statfsSync(folder);
    for (const shard of huge.shards) shard.byteLength = Math.floor((bavail * bsize) / 4);
    const outlet = await openShardPush(huge, "chimera/space", {
      discardLocal: true,
      mostLocal: 2,
      dryRun: true,
    });
    await build(huge, join(folder, "space"), { outlet, dryRun: true });
    await assert.rejects(build(huge, join(folder, "space"), { dryRun: true }), { code: "disk-space" });
  });

  test("refuses options that contradict each other", async () => {
    for (const [args, message] of [
      [["--discard-local"], /Cannot use --discard-local without --push/],
      [["--push", "a/b", "--local-shards", "3"], /Cannot use --local-shards without --discard-local/],
      [["--private"], /Cannot use --private without --push/],
      [["--push", "ab"], /it names no repository, wanted ORG\/NAME/],
    ] as const) {
      const { status, stderr } = await startMain(["build", recipe, "-o", join(folder, "no"), ...args]).result;
      assert.equal(status, 2);
      assert.match(stderr, message);
    }
    rmSync(join(folder, "no"), { recursive: true, force: true });
  });

  /** The repository holds the child that was built into a folder, and nothing else. */
  function assertEquals(repo: HubRepo): void {
    const wanted = filesOf(local);
    const names = [...repo.files.keys()].filter((name) => name !== ".gitattributes").sort();
    assert.deepEqual(names, [...wanted.keys()].sort());
    for (const [name, bytes] of wanted)
      assert.equal(sha256(repo.files.get(name)!), sha256(bytes), `${name} differs`);
  }
});

function countShards(repo: HubRepo | undefined): number {
  return [...(repo?.files.keys() ?? [])].filter(isShard).length;
}

/** Shards in a folder and in its state folder, whole or not. */
function weigh(folder: string): { names: string[]; bytes: number } {
  const places = [folder, join(folder, ".chimera")].filter((place) => existsSync(place));
  const paths = places.flatMap((place) => readdirSync(place).map((name) => join(place, name)));
  const shards = paths.filter((path) => /\.safetensors(\.\d+-[^/]+\.tmp)?$/.test(path));
  const sizes = shards.map((path) => statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  return { names: shards, bytes: sizes.reduce((sum, size) => sum + size, 0) };
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error("waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
