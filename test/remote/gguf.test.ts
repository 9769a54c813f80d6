/** GGUF files that lie elsewhere are read like those that lie here. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pinnedLocation } from "../../src/checkpoint/stores.ts";
import { callMain, runMain } from "../cli/run-main.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { isLargeFile, useHub } from "./use-hub.ts";

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
