/** Launches whose child goes elsewhere, to the Hub or into an object store; and how far they are, told from here. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { build } from "../../src/build/build.ts";
import { finishWhenReady } from "../../src/build/finish-when-ready.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import { buildStatus } from "../../src/launch/status.ts";
import { openShardPush } from "../../src/transfer/push-shards.ts";
import { run, start } from "../build/processes.ts";
import { useWritableHub } from "../remote/use-hub.ts";
import { useS3 } from "../remote/use-s3.ts";
import { sha256, TestHub } from "../support/hub/hub-server.ts";
import { TestS3 } from "../support/s3/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { buildWhole, hashesOfRepo, type WholeChild } from "./small-family.ts";

const isShard = (name: string) => name.endsWith(".safetensors");
const shardsIn = (folder: string) => readdirSync(folder).filter(isShard);

describe("a launch whose child goes to the Hub", () => {
  const hub = new TestHub({ lfsBytes: 1 << 16 });
  const folder = temporaryFolder({ after });
  let whole: WholeChild;
  before(async () => {
    await hub.start();
    whole = await buildWhole(folder);
  });
  after(() => hub.stop());
  useWritableHub(hub);

  /** The repository holds the child that was built into a folder, and nothing else. */
  const assertPushed = (name: string) => assert.deepEqual(hashesOfRepo(hub, name), whole.hashes);
  const pushing = (name: string) => ["--push", `chimera/${name}`, "--discard-local", "--local-shards", "3"];

  test("chimera launch local --push --discard-local: built, pushed, freed, and verified where it is", async () => {
    const to = join(folder, "launched");
    const args = ["launch", "local", whole.recipe, "-o", to, "--tasks", "2", "--workers", "1"];
    const { status, stdout, stderr } = await run([...args, ...pushing("launched")]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /launched: 2 parts \(11 shards, .+\); finish, verify\n$/);
    assertPushed("chimera/launched");
    assert.deepEqual(shardsIn(to), []);
    const told = await run(["launch", "status", to]);
    assert.match(told.stdout, /launched: finished, 11 of 11 shards/);
    const again = await run([...args, ...pushing("launched"), "--no-verify", "--json", "--progress", "none"]);
    assert.deepEqual([again.status, JSON.parse(again.stdout).failed], [0, []], again.stderr);
  });

  test("build --finish --wait --push waits for parts whose shards have left, and status counts these", async () => {
    const to = join(folder, "waited");
    const args = ["build", whole.recipe, "-o", to, ...pushing("waited"), "--progress", "none"];
    const waiting = start([...args, "--finish", "--wait", "60"]);
    const target = openOutput(to);
    const part = async (index: number) => {
      const outlet = await openShardPush(whole.plan, "chimera/waited", { discardLocal: true, mostLocal: 2 });
      return build(whole.plan, to, { outlet, part: { index, count: 2 }, workers: 1 });
    };
    await part(0);
    const { shards, bytes, elsewhere, parts, finished } = await buildStatus(target, whole.plan, { tasks: 2 });
    assert.deepEqual(
      [finished, shards, elsewhere],
      [false, { done: 5, total: 11 }, { location: "hf:chimera/waited", shards: 5 }],
    );
    assert.ok(bytes.done > 0 && bytes.done < bytes.total);
    assert.deepEqual(
      parts.map(({ state }) => state),
      ["done", "open"],
    );
    assert.equal(waiting.child.exitCode, null);
    await part(1);
    const { status, stdout, stderr } = await waiting.done;
    assert.equal(status, 0, stderr);
    assert.match(stdout, /pushed {2}hf:chimera\/waited\n/);
    assertPushed("chimera/waited");
    assert.deepEqual(shardsIn(to), []);
  });

  test("waiting goes on while the repository cannot be reached for a while", async () => {
    const to = join(folder, "away");
    let opened = 0;
    const openOutlet = async () => {
      opened++;
      if (opened === 2) throw new CheckpointError("unreachable", "Cannot reach it");
      return openShardPush(whole.plan, "chimera/away", { discardLocal: true });
    };
    const waiting = finishWhenReady(whole.plan, to, { seconds: 60, everySeconds: 0.02, openOutlet });
    for (const index of [0, 1]) await build(whole.plan, to, { part: { index, count: 2 }, workers: 1 });
    assert.equal((await waiting).finished, true);
    assert.ok(opened >= 3, `${opened}`);
    assertPushed("chimera/away");
    const never = finishWhenReady(whole.plan, join(folder, "none"), {
      ...{ seconds: 60, everySeconds: 0.02 },
      openOutlet: () => Promise.reject(new CheckpointError("unreachable", "Cannot reach it")),
    });
    await assert.rejects(never, { code: "unreachable" });
  });

  test("finishing sends what a part has built and not sent", async () => {
    const to = join(folder, "unsent");
    for (const index of [0, 1]) await build(whole.plan, to, { part: { index, count: 2 }, workers: 1 });
    const { status, stderr } = await run(["build", "-o", to, "--finish", ...pushing("unsent")]);
    assert.equal(status, 0, stderr);
    assertPushed("chimera/unsent");
    assert.deepEqual(shardsIn(to), []);
  });

  test("of a child that was there before, parts send nothing: the last step sends it", async () => {
    const to = join(folder, "whole");
    const open = () => openShardPush(whole.plan, "chimera/before");
    const part = await build(whole.plan, to, { outlet: await open(), part: { index: 0, count: 2 } });
    assert.deepEqual([part.finished, part.shards.written], [true, 0]);
    assert.deepEqual([...hub.repos.get("chimera/before")!.files.keys()].filter(isShard), []);
    await build(whole.plan, to, { outlet: await open(), finish: true });
    assertPushed("chimera/before");
  });

  test("chimera launch slurm --push: every script says it", async () => {
    const args = ["launch", "slurm", whole.recipe, "-o", join(folder, "scripts"), "--dry-run", "--json"];
    const { status, stdout, stderr } = await run([...args, ...pushing("scripts")]);
    assert.equal(status, 0, stderr);
    const texts = (JSON.parse(stdout).scripts as { text: string }[]).map(({ text }) => text);
    const wanted = " --push chimera/scripts --discard-local --local-shards 3 ";
    assert.deepEqual([texts.length, texts.map((text) => text.includes(wanted))], [3, [true, true, false]]);
    assert.match(texts[2]!, / verify hf:chimera\/scripts &$/m);
    assert.equal(hub.repos.has("chimera/scripts"), false);
  });

  test("what cannot be pushed is told before anything is launched, or waited for", async () => {
    const to = join(folder, "never");
    const launch = ["launch", "local", whole.recipe, "-o"];
    const cases: [number, RegExp, string[], Record<string, string>][] = [
      [2, /Cannot build in "s3:\/\/b\/x" and push/, [...launch, "s3://b/x", ...pushing("x")], {}],
      [2, /Cannot use --discard-local without --push/, [...launch, to, "--discard-local"], {}],
      [2, /it names no repository, wanted ORG\/NAME/, [...launch, to, "--push", "x"], {}],
      [3, /no token/, [...launch, to, ...pushing("x")], { HF_TOKEN: "" }],
      [
        3,
        /no token/,
        ["build", whole.recipe, "-o", to, ...pushing("x"), "--finish", "--wait", "600"],
        { HF_TOKEN: "" },
      ],
    ];
    for (const [wanted, message, args, env] of cases) {
      const { status, stderr } = await run(args, { env });
      assert.deepEqual([status, message.test(stderr)], [wanted, true], stderr);
    }
    assert.equal(existsSync(to) || existsSync(`${to}.launch`), false);
  });
});

describe("a launch whose child goes into an object store", () => {
  const s3 = new TestS3();
  const folder = temporaryFolder({ after });
  let whole: WholeChild;
  before(async () => {
    await s3.start();
    s3.bucket("children");
    whole = await buildWhole(folder);
  });
  after(() => s3.stop());
  useS3(s3);

  test("chimera launch local -o s3://…, and its status there, from any folder", async () => {
    const [here, elsewhere] = ["here", "elsewhere"].map((name) => join(folder, name)) as [string, string];
    for (const place of [here, elsewhere]) mkdirSync(place);
    const place = "s3://children/r1t";
    const nothing = await run(["launch", "status", place], { cwd: here });
    assert.deepEqual([nothing.status, nothing.stdout], [2, ""]);
    assert.match(nothing.stderr, /Cannot tell how far "s3:\/\/children\/r1t" is: nothing was launched there/);
    await build(whole.plan, place, { part: { index: 0, count: 2 } });
    const half = await run(["launch", "status", place], { cwd: elsewhere });
    assert.match(half.stdout, /^s3:\/\/children\/r1t: \d+ %, 5 of 11 shards, .+\n1 part: .* 1 open\n$/);

    const args = [
      "launch",
      "local",
      whole.recipe,
      "-o",
      place,
      "--tasks",
      "2",
      "--workers",
      "1",
      "--no-verify",
    ];
    const { status, stdout, stderr } = await run(args, { cwd: here });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /launched {2}s3:\/\/children\/r1t: 2 parts \(11 shards, .+\); finish\n$/);
    const objects = s3.namesUnder("children", "r1t");
    const hashes = objects.map((name) => [name, sha256(s3.bucket("children").get(`r1t/${name}`)!.bytes)]);
    assert.deepEqual(Object.fromEntries(hashes), whole.hashes);
    // What the launch needs is neither in the bucket nor in a folder that is called like it.
    assert.deepEqual([readdirSync(here), readdirSync(elsewhere)], [["s3-children-r1t.launch"], []]);
    for (const [name, cwd] of [
      [place, elsewhere],
      [join(here, "s3-children-r1t.launch"), elsewhere],
    ] as const) {
      const told = await run(["launch", "status", name], { cwd });
      assert.match(told.stdout, /^s3:\/\/children\/r1t: finished, 11 of 11 shards/, told.stderr);
    }
  });
});
