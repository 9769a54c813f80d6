/**
 * The Hub's own library in Python, as an oracle: it fills a cache that we read, and gets from a repository what we have
 * pushed. So the tests' Hub is held to what a real client asks of the real one. Run by hand:
 * `CHIMERA_HUB_PYTHON=venv/bin/python npm test -- hub-peer`, with huggingface_hub (1.0 or newer) installed there.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { build } from "../../src/build/build.ts";
import { openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { startMain } from "../cli/run-main.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { filesOf, isLargeFile, useHub } from "./use-hub.ts";

const PYTHON = process.env.CHIMERA_HUB_PYTHON;

describe("huggingface_hub", { skip: PYTHON === undefined && "CHIMERA_HUB_PYTHON names no Python" }, () => {
  const hub = new TestHub({ lfsBytes: 1 << 17 });
  const folder = temporaryFolder({ after });

  before(async () => {
    await hub.start();
    // The library takes another port of one host for the Hub itself, and would follow redirects to it.
    hub.cdn = hub.cdn.replace("127.0.0.1", "localhost");
    hub.add("chimera/mini-v3", filesOf("models/mini-v3"));
  });
  after(() => hub.stop());
  useHub(hub);

  const python = (code: string) =>
    new Promise<string>((resolve, reject) => {
      const env = {
        ...{ ...process.env, HF_TOKEN: hub.options.token, HF_HUB_DISABLE_XET: "1" },
        HF_HUB_DISABLE_PROGRESS_BARS: "1",
      };
      const child = spawn(PYTHON!, ["-c", `import huggingface_hub as hub\n${code}`], { env });
      let [out, err] = ["", ""];
      child.stdout.on("data", (data) => {
        out += data;
      });
      child.stderr.on("data", (data) => {
        err += data;
      });
      child.on("close", (status) => (status === 0 ? resolve(out.trim()) : reject(new Error(err))));
    });

  test("what it has put into its cache is read from there, with and without the Hub", async () => {
    const identities = async () => {
      const { store, shards } = await openWholeCheckpoint(openStore("hf:chimera/mini-v3"));
      return Promise.all(
        shards.map(async ({ name }) => {
          const source = await store.open(name);
          await source.close();
          return source.identity;
        }),
      );
    };
    const before = await identities();
    const [first] = readdirSync("models/mini-v3").filter((name) => name.endsWith(".safetensors"));
    await python(`hub.hf_hub_download("chimera/mini-v3", "${first}")`);
    hub.forget();
    assert.deepEqual(await identities(), before);
    const { commit } = hub.repos.get("chimera/mini-v3")!;
    await python(`hub.snapshot_download("chimera/mini-v3")`);
    hub.forget();
    assert.deepEqual(await identities(), before);
    assert.deepEqual(hub.log.filter(isLargeFile), []);
    hub.forget();
    process.env.HF_HUB_OFFLINE = "1";
    const offline = openStore("hf:chimera/mini-v3");
    await openWholeCheckpoint(offline);
    delete process.env.HF_HUB_OFFLINE;
    assert.deepEqual([hub.log.length, offline.location], [0, `hf:chimera/mini-v3@${commit}`]);
  });

  test("gets what was pushed, and understands the card", async () => {
    const child = join(folder, "child");
    await build(await planRecipe("recipes/mini/r1t.yaml", {}), child);
    const base = ["--base-model", "v3=chimera/mini-v3"];
    const { status, stderr } = await startMain(["push", child, "chimera/child", ...base], {
      HF_TOKEN: hub.options.token,
    }).result;
    assert.equal(status, 0, stderr);
    const snapshot = await python(`print(hub.snapshot_download("chimera/child"))`);
    for (const name of readdirSync(child).filter((name) => !/README|chimera\.json/.test(name)))
      assert.deepEqual(readFileSync(join(snapshot, name)), readFileSync(join(child, name)), name);
    const card = await python(
      `import json\nprint(json.dumps(hub.ModelCard.load("${join(snapshot, "README.md")}").data.to_dict()))`,
    );
    const { base_model, base_model_relation } = JSON.parse(card);
    assert.deepEqual([base_model, base_model_relation], [["chimera/mini-v3"], "merge"]);
  });

  test("what it has pushed is read", async () => {
    await python(
      `api = hub.HfApi()\napi.create_repo("chimera/theirs")\napi.upload_folder(repo_id="chimera/theirs", folder_path="models/mini-r1")`,
    );
    const theirs = await openWholeCheckpoint(openStore("hf:chimera/theirs"));
    const near = await openWholeCheckpoint(openStore("models/mini-r1"));
    assert.deepEqual([...theirs.tensors.keys()].sort(), [...near.tensors.keys()].sort());
  });
});
