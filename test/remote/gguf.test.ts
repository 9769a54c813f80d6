/** GGUF files that lie elsewhere are read like those that lie here. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { pinnedLocation } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { networkReads } from "../../src/transfer/network.ts";
import { hashesOf } from "../build/support.ts";
import { callMain, runMain } from "../cli/run-main.ts";
import type { LoggedRequest } from "../support/hub/faults.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { isLargeFile, MANY_SHARDS, useHub } from "./use-hub.ts";

describe("a GGUF on a server", () => {
  const hub = new TestHub({ lfsBytes: 1 << 19 });
  const folder = temporaryFolder({ after });
  const file = join(folder, "mini-r1.gguf");
  const ask = ["-p", "What is 17 + 25?", "--temperature", "0", "--max-tokens", "12"];

  before(async () => {
    await hub.start();
    const { status, stderr } = runMain("convert", "models/mini-r1", "-o", file, "--type", "q8_0");
    assert.equal(status, 0, stderr);
    hub.add("chimera/gguf", new Map([["mini-r1.gguf", new Uint8Array(readFileSync(file))]]));
  });
  after(() => hub.stop());
  useHub(hub);

  test("is inspected and run, on the Hub and on a web server", async () => {
    const near = runMain("generate", file, ...ask);
    for (const location of [
      "hf:chimera/gguf/mini-r1.gguf",
      `${hub.url}/chimera/gguf/resolve/main/mini-r1.gguf`,
    ]) {
      const far = await callMain(["generate", location, ...ask], { HF_ENDPOINT: hub.url });
      assert.equal(far.status, 0, far.stderr);
      assert.equal(far.stdout, near.stdout);
      const seen = await callMain(["inspect", location], { HF_ENDPOINT: hub.url });
      assert.equal(seen.status, 0, seen.stderr);
      assert.match(seen.stdout, /GGUF version 3/);
    }
  });

  test("is evaluated as it is here, and read in few requests", async () => {
    const evalOf = async (location: string, out: string) => {
      const args = ["eval", location, "--tasks", "tasks/mini/sums.yaml", "--n", "3", "-o", join(folder, out)];
      const { status, stderr } = await callMain(args, { HF_ENDPOINT: hub.url });
      assert.equal(status, 0, stderr);
      const read = (name: string) => readFileSync(join(folder, out, name), "utf8");
      return [JSON.parse(read("config.json")).settings.target.digest, read("records.ndjson")];
    };
    hub.forget();
    const far = await evalOf("hf:chimera/gguf/mini-r1.gguf", "far");
    const asked = hub.log.filter(isLargeFile).length;
    assert.ok(asked < 60, `${asked} requests for 70 tensors`);
    assert.deepEqual(far, await evalOf(file, "near"));
  });

  test("is a parent of a child as it is here, and what is read for it was told before", async () => {
    const planOf = (name: string, location: string) => {
      const path = join(folder, name);
      writeFileSync(path, MANY_SHARDS.replace(/r1: .*mini-r1/, `r1: ${location}`));
      return planRecipe(path);
    };
    await build(await planOf("near.yaml", file), join(folder, "near-child"));
    const plan = await planOf("far.yaml", "hf:chimera/gguf/mini-r1.gguf");
    const told = await networkReads(plan);
    hub.forget();
    await build(plan, join(folder, "far-child"), { workers: 1 });
    const isOfHead = ({ range = "" }: LoggedRequest) => range.startsWith("bytes=0-");
    const [heads, read] = [true, false].map((wanted) =>
      hub.log.filter((one) => isLargeFile(one) && isOfHead(one) === wanted),
    ) as [LoggedRequest[], LoggedRequest[]];
    assert.ok(
      heads.length <= 3,
      `its head was read ${heads.length} times, wanted once a worker, before and behind`,
    );
    const bytes = read.reduce((sum, each) => sum + each.bytes, 0);
    assert.deepEqual(
      told.map(({ parent, bytes, requests }) => [parent, bytes, requests]),
      [["r1", bytes, read.length]],
    );
    const [far, near] = ["far-child", "near-child"].map((name) => hashesOf(join(folder, name)));
    const shards = Object.keys(near!).filter((name) => name.endsWith(".safetensors"));
    assert.ok(shards.length >= 9);
    for (const name of shards) assert.equal(far![name], near![name], name);
  });

  test("commands of llama.cpp name the file and its repository", async () => {
    const args = ["serve", "--print", "llama.cpp", "hf:chimera/gguf/mini-r1.gguf"];
    const { stdout, stderr } = await callMain(args, { HF_ENDPOINT: hub.url });
    assert.match(stdout, /^llama-server --hf-repo chimera\/gguf --hf-file mini-r1\.gguf /m, stderr);
    const vllm = runMain("serve", "--print", "vllm", file);
    assert.deepEqual([vllm.status, /which is for llama\.cpp/.test(vllm.stderr)], [2, true]);
  });

  test("its repository is pinned to a commit", async () => {
    const { commit } = hub.repos.get("chimera/gguf")!;
    assert.equal(
      await pinnedLocation("hf:chimera/gguf/mini-r1.gguf"),
      `hf:chimera/gguf@${commit}/mini-r1.gguf`,
    );
  });
});
