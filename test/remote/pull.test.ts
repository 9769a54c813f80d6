/** chimera pull: whole checkpoints, and only what a recipe needs; stopped, resumed, damaged, and never a hole read. */
import assert from "node:assert/strict";
import { cpSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { folderFingerprint } from "../../src/checkpoint/fingerprint.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { pull } from "../../src/transfer/pull.ts";
import { planNeeded, planWhole, sizeOf } from "../../src/transfer/pull-plan.ts";
import { push } from "../../src/transfer/push.ts";
import { callMain, startMain } from "../cli/run-main.ts";
import { firstTimes, sendContent } from "../support/hub/faults.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { TestS3 } from "../support/s3/s3-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, isLargeFile, silentAt, useHub } from "./use-hub.ts";

const RECIPE = `version: 1
parents:
  v3: models/mini-v3
  r1: chimera/mini-r1
base: v3
rules:
  - tensors: routed-experts
    weights: { r1: 1 }
  - { tensors: { role: attention, layers: 2 }, weights: { r1: 0.5 } }
`;
const R1 = "hf:chimera/mini-r1";

describe("pull", () => {
  const hub = new TestHub({ lfsBytes: 1 << 19 });
  const folder = temporaryFolder({ after });
  const recipeFile = join(folder, "recipe.yaml");

  before(async () => {
    await hub.start();
    hub.add("chimera/mini-r1", filesOf("models/mini-r1"));
    writeFileSync(recipeFile, RECIPE.replace("models/", `${process.cwd()}/models/`));
  });
  after(() => hub.stop());
  useHub(hub);
  beforeEach(() => {
    hub.rules = [];
    hub.forget();
  });

  test("a whole checkpoint is the checkpoint, and nothing else lies there", async () => {
    const to = join(folder, "whole");
    const report = await pull(await planWhole(R1), to);
    assert.equal(report.isWhole, true);
    assertSame(to, "models/mini-r1");
  });

  test("what a recipe needs is enough to build offline, and a fraction of the bytes", async () => {
    const plan = await planRecipe(parseRecipe(RECIPE), {});
    const to = join(folder, "needed");
    const needed = await planNeeded(plan, 1);
    assert.ok(needed.bytes < 0.8 * needed.bytesOfAll, `${needed.bytes} of ${needed.bytesOfAll} bytes`);
    hub.forget();
    const report = await pull(needed, to);
    assert.equal(report.isWhole, false);
    const sent = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    const headers = needed.shards.length * 60_000; // planNeeded() has read none since forget(); pull reads windows
    assert.ok(sent <= needed.shards.reduce((sum, { windows }) => sum + sizeOf(windows), 0) + headers);
    for (const { name, byteLength } of needed.shards) assert.equal(statSync(join(to, name)).size, byteLength);
    const wanted = join(folder, "wanted");
    await build(plan, wanted, { workers: 1 });
    await hub.stop(); // offline from here on
    try {
      const child = join(folder, "offline");
      await build(await planRecipe(parseRecipe(RECIPE), { locations: { r1: to } }), child, { workers: 1 });
      for (const name of readdirSync(wanted).filter((some) => some.endsWith(".safetensors")))
        assert.ok(readFileSync(join(child, name)).equals(readFileSync(join(wanted, name))), name);
      const other = RECIPE.replace("layers: 2", "layers: 1");
      const plan2 = await planRecipe(parseRecipe(other), { locations: { r1: to } });
      await assert.rejects(build(plan2, join(folder, "holes"), { workers: 1 }), /were not pulled/);
    } finally {
      await hub.start();
      process.env.HF_ENDPOINT = hub.url;
    }
  });

  test("its holes are none for whoever reads it elsewhere, and it is not pushed", async () => {
    const plan = await planRecipe(parseRecipe(RECIPE), {});
    const to = join(folder, "shared");
    await pull(await planNeeded(plan, 1), to);
    hub.add("chimera/parts", filesOf(to));
    const s3 = await new TestS3().start();
    const server = createServer((request, response) => {
      const path = join(to, decodeURIComponent(request.url!.slice(1)));
      if (!existsSync(path)) return void response.writeHead(404).end();
      const content = readFileSync(path);
      const logged = { method: "GET", path, range: undefined, authorization: undefined, bytes: 0 };
      void sendContent(request, response, { content, etag: "x", fault: undefined, logged });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const old = { ...process.env };
    Object.assign(process.env, s3.env, { AWS_EC2_METADATA_DISABLED: "true" });
    try {
      for (const [name, bytes] of filesOf(to)) s3.put("models", `parts/${name}`, bytes);
      const { port } = server.address() as AddressInfo;
      for (const place of [`http://127.0.0.1:${port}`, "hf:chimera/parts", "s3://models/parts"]) {
        const child = join(folder, `of-parts-${place.slice(0, 2)}`);
        await build(await planRecipe(parseRecipe(RECIPE), { locations: { r1: place } }), child, {
          workers: 1,
        });
        const other = await planRecipe(parseRecipe(RECIPE.replace("layers: 2", "layers: 1")), {
          locations: { r1: place },
        });
        await assert.rejects(build(other, `${child}-holes`, { workers: 1 }), /were not pulled/, place);
      }
    } finally {
      for (const name of Object.keys(s3.env)) {
        if (old[name] === undefined) delete process.env[name];
        else process.env[name] = old[name];
      }
      server.closeAllConnections();
      server.close();
      await s3.stop();
    }
    await assert.rejects(push(to, "chimera/other"), { code: "partial" });
  });

  test("--dry-run says bytes and requests, and fetches none of them", async () => {
    const to = join(folder, "dry");
    const { bytes, bytesOfAll, requests } = await planNeeded(await planRecipe(parseRecipe(RECIPE), {}), 1);
    const args = ["pull", `r1=${R1}`, "--only-needed-by", recipeFile, "-o", to, "--dry-run"];
    const { status, stdout, stderr } = await callMain(args);
    assert.equal(status, 0, stderr);
    const share = ((100 * bytes) / bytesOfAll).toFixed(1);
    const [said, asked] = [bytes, requests].map((value) => value.toLocaleString("en-US"));
    assert.ok(stdout.includes(`(${said} bytes)`) && stdout.includes(`: ${share} %`), stdout);
    assert.match(stdout, new RegExp(`^ {2}${asked} requests$`, "m"));
    const told = JSON.parse((await callMain([...args, "--json"])).stdout).pulls[0];
    assert.deepEqual([told.bytes, told.requests, existsSync(to)], [bytes, requests, false]);
  });

  test("another recipe's bytes are added to what is there", async () => {
    const first = await planRecipe(parseRecipe(RECIPE), {});
    const second = await planRecipe(parseRecipe(RECIPE.replace("layers: 2", "layers: 1")), {});
    const to = join(folder, "added");
    await pull(await planNeeded(first, 1), to);
    const more = await pull(await planNeeded(second, 1), to);
    assert.ok(more.fetchedBytes < more.foundBytes, `${more.fetchedBytes} fetched, ${more.foundBytes} found`);
    for (const plan of [RECIPE, RECIPE.replace("layers: 2", "layers: 1")]) {
      const child = join(folder, `added-${plan.length}-${plan.includes("layers: 1")}`);
      await build(await planRecipe(parseRecipe(plan), { locations: { r1: to } }), child, { workers: 1 });
    }
    const whole = await pull(await planWhole(R1), to);
    assert.equal(whole.isWhole, true);
    assert.ok(whole.foundBytes > 0);
    assertSame(to, "models/mini-r1");
  });

  test("goes on where it was stopped, and asks for nothing twice", async () => {
    const to = join(folder, "stopped");
    const plan = await planNeeded(await planRecipe(parseRecipe(RECIPE), {}), 1);
    const stop = new AbortController();
    const stopped = pull(plan, to, {
      signal: stop.signal,
      onEvent: (event) => {
        if (event.kind === "pulled") stop.abort();
      },
    });
    await assert.rejects(stopped, { name: "Interrupted" });
    hub.forget();
    const report = await pull(plan, to);
    assert.ok(report.foundBytes > plan.bytes / 4, `${report.foundBytes} of ${plan.bytes} bytes were found`);
    const sent = hub.log.filter(isLargeFile).reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(sent <= report.fetchedBytes, `${sent} bytes were sent, ${report.fetchedBytes} were missing`);
  });

  test("killed, it goes on", async () => {
    const to = join(folder, "killed");
    hub.rules = [(request) => (isLargeFile(request) ? { kind: "slow", ms: 300 } : undefined)];
    const args = ["pull", R1, "--only-needed-by", recipeFile, "-o", to, "--progress", "json"];
    const started = startMain(args, { HF_ENDPOINT: hub.url });
    while (!/"progress".*safetensors/.test(started.stderr())) {
      await new Promise((resume) => setTimeout(resume, 20));
      if (started.child.exitCode !== null) throw new Error(started.stderr());
    }
    started.child.kill("SIGKILL");
    await new Promise((resolve) => started.child.once("exit", resolve));
    hub.rules = [];
    const report = await pull(await planNeeded(await planRecipe(parseRecipe(RECIPE), {}), 1), to);
    assert.ok(report.foundBytes > 0);
    assert.equal(existsSync(join(to, ".chimera")), false);
  });

  test("stopped while the server is silent, it ends at once", async () => {
    const to = join(folder, "silent");
    const plan = await planWhole(R1);
    const stop = new AbortController();
    hub.rules = [silentAt(isLargeFile, () => stop.abort())];
    const begun = performance.now();
    await assert.rejects(pull(plan, to, { signal: stop.signal }), { name: "Interrupted" });
    assert.ok(performance.now() - begun < 15_000);
  });

  test("a branch that has moved meanwhile is not mixed in", async () => {
    const to = join(folder, "moved");
    const old = filesOf("models/mini-r1");
    const repo = hub.add("chimera/moving", old);
    const stop = new AbortController();
    const onEvent = ({ kind }: { kind: string }) => {
      if (kind === "pulled") stop.abort();
    };
    const stopped = pull(await planWhole("hf:chimera/moving"), to, { signal: stop.signal, onEvent });
    await assert.rejects(stopped, { name: "Interrupted" });
    const shards = [...old].filter(([name]) => name.endsWith(".safetensors"));
    const moved = shards.map(([name, bytes]): [string, Uint8Array] => [name, bytes.slice()]);
    for (const [, bytes] of moved) bytes[bytes.length - 1]! ^= 1;
    const commit = repo.commit;
    hub.commit(repo, new Map(moved), "moved");
    await assert.rejects(pull(await planWhole("hf:chimera/moving"), to), { code: "other-source" });
    await pull(await planWhole(`hf:chimera/moving@${commit}`), to);
    assertSame(to, "models/mini-r1");
  });

  test("the shards of another checkpoint are not taken for its own", async () => {
    const to = join(folder, "another");
    cpSync("models/mini-v3", to, { recursive: true });
    await assert.rejects(pull(await planWhole(R1), to), { code: "other-source" });
    assertSame(to, "models/mini-v3");
    const own = join(folder, "own");
    cpSync("models/mini-r1", own, { recursive: true });
    hub.forget();
    await pull(await planWhole(R1), own);
    assertSame(own, "models/mini-r1");
    assert.equal(hub.log.filter((asked) => isLargeFile(asked) && asked.bytes > 100_000).length, 0);
  });

  test("a login page in place of a file gets no name", async () => {
    const to = join(folder, "login");
    const body = "<html>Sign in</html>";
    hub.rules = [
      ({ path }) =>
        /resolve.*tokenizer.json/.test(path) ? { kind: "status", status: 200, body } : undefined,
    ];
    await assert.rejects(pull(await planWhole(R1), to), { code: "damaged" });
    assert.equal(existsSync(join(to, "tokenizer.json")), false);
  });

  test("two at once in one folder: one of them", async () => {
    const to = join(folder, "two");
    const plans = [await planWhole(R1), await planWhole(R1)];
    const results = await Promise.allSettled(plans.map((plan) => pull(plan, to)));
    const failed = results.filter((result) => result.status === "rejected");
    assert.deepEqual(
      failed.map(({ reason }) => reason.code),
      ["locked"],
    );
    assertSame(to, "models/mini-r1");
  });

  test("a part is enough for a build past the system's cache", async () => {
    const to = join(folder, "direct");
    await pull(await planNeeded(await planRecipe(parseRecipe(RECIPE), {}), 1), to);
    const plan = await planRecipe(parseRecipe(RECIPE), { locations: { r1: to } });
    const child = join(folder, "direct-child");
    await build(plan, child, { workers: 1, direct: {} });
    const wanted = join(folder, "plain-child");
    await build(plan, wanted, { workers: 1 });
    assertSame(child, wanted);
    assert.match(await folderFingerprint(to), /^[0-9a-f]{64}$/); // reads no hole
    assert.match(await folderFingerprint(to, { wholeBytes: 0 }), /^[0-9a-f]{64}$/);
  });

  test("a shard whose hash is wrong gets no name", async () => {
    const to = join(folder, "damaged");
    hub.rules = [
      firstTimes(1, (request) => isLargeFile(request) && !/-(7|8|\d\d\d?\d?\d?)$/.test(request.range ?? ""), {
        kind: "flip",
      }),
    ];
    await assert.rejects(pull(await planWhole(R1), to), /its SHA-256 is [0-9a-f]{64}, wanted [0-9a-f]{64}/);
    hub.rules = [];
    await pull(await planWhole(R1), to);
    assertSame(to, "models/mini-r1");
  });
});

function assertSame(folder: string, wanted: string): void {
  assert.deepEqual(readdirSync(folder).sort(), readdirSync(wanted).sort());
  for (const name of readdirSync(wanted))
    assert.ok(readFileSync(join(folder, name)).equals(readFileSync(join(wanted, name))), name);
}
