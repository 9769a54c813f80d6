/** GGUF files that lie elsewhere are read like those that lie here. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pinnedLocation } from "../../src/checkpoint/stores.ts";
import { runMain, startMain } from "../cli/run-main.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { useHub } from "./use-hub.ts";

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
      const far = await startMain(["generate", location, ...ask], { HF_ENDPOINT: hub.url }).result;
      assert.equal(far.status, 0, far.stderr);
      assert.equal(far.stdout, near.stdout);
      const seen = await startMain(["inspect", location], { HF_ENDPOINT: hub.url }).result;
      assert.equal(seen.status, 0, seen.stderr);
      assert.match(seen.stdout, /GGUF version 3/);
    }
  });

  test("its repository is pinned to a commit", async () => {
    const { commit } = hub.repos.get("chimera/gguf")!;
    assert.equal(
      await pinnedLocation("hf:chimera/gguf/mini-r1.gguf"),
      `hf:chimera/gguf@${commit}/mini-r1.gguf`,
    );
  });
});
