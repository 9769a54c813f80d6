/** What can go wrong in a page: each is one error that says what it is, and the engine goes on. */
import assert from "node:assert/strict";
import { cpSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { damaged, setValue } from "../runtime/damaged-model.ts";
import { type Ends, temporaryFolder } from "../support/temporary-folder.ts";
import { faultInPage, greedyInPage } from "./ask-engine.ts";
import {
  bundledFolder,
  type EngineGlobal,
  endsOf,
  noBrowser,
  openPage,
  repositoryFile,
  startBrowser,
  waitForState,
} from "./browser-page.ts";
import { type ServedFolder, serveFolder } from "./serve-folder.ts";

const LOOPS = "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}";

/** Checkpoints with something wrong, each called after it, and one without. */
function checkpoints(ends: Ends): string[] {
  const named = (folder: string, name: string) => {
    renameSync(folder, join(dirname(folder), name));
    return join(dirname(folder), name);
  };
  const overflows = damaged(ends, {
    tensors: (all) => {
      const name = "model.layers.2.post_attention_layernorm.weight";
      for (let at = 0; at < 128; at++) setValue(all, name, { at, value: 3e38 });
    },
  });
  const unnumbered = damaged(ends, {
    tensors: (all) => setValue(all, "model.layers.3.input_layernorm.weight", { at: 9, value: Number.NaN }),
  });
  const endless = join(temporaryFolder(ends), "endless");
  cpSync(repositoryFile("models/mini-v3"), endless, { recursive: true });
  writeFileSync(join(endless, "chat_template.jinja"), LOOPS);
  return [
    named(overflows, "overflows"),
    named(unnumbered, "unnumbered"),
    endless,
    repositoryFile("models/mini-v3"),
  ];
}

for (const isolated of [false, true]) {
  const mode = isolated ? "with threads" : "without threads";
  describe(`faults in a browser, ${mode}`, { skip: noBrowser }, () => {
    let served: ServedFolder;
    let browser: Browser;
    let page: Page;
    const ends = endsOf(after);
    before(async () => {
      served = await serveFolder(ends, bundledFolder(ends, checkpoints(ends)), { isolated });
      browser = await startBrowser(ends);
      ({ page } = await openPage(browser, served.url));
    });

    test("load() names a value that is not finite", async () => {
      const fault = await faultInPage(page, "load", { location: "/models/unnumbered", threads: 2 });
      assert.equal(`${fault.name} ${fault.code}`, "CheckpointError not-finite");
      assert.match(
        fault.message,
        /^Cannot use "model.layers.3.input_layernorm.weight" of "unnumbered": element \[9\] is not finite/,
      );
    });

    test("a pass that overflows names its layer, every time; another model still answers", async () => {
      const model = await page.evaluate(async () => {
        const { engine } = globalThis as unknown as EngineGlobal;
        return (await engine.request("load", { location: "/models/overflows", threads: 2 })).model;
      });
      for (let time = 0; time < 2; time++) {
        const fault = await faultInPage(page, "generateIds", { model, ids: [0, 5, 6], maxTokens: 2 });
        assert.equal(`${fault.name} ${fault.code}`, "CheckpointError not-finite");
        assert.match(fault.message, /^Cannot go on: the output of layer 2 holds a number that is not finite/);
      }
      const { ids } = await greedyInPage(page, { location: "/models/mini-v3", threads: 2 });
      assert.equal(ids.length > 0, true);
      const gone = await page.evaluate(
        (model) => (globalThis as unknown as EngineGlobal).engine.request("dispose", { model }),
        model,
      );
      assert.equal(gone, undefined);
    });

    test("a chat template that does not end is ended, and the engine answers meanwhile", async () => {
      const { name, places } = await page.evaluate(async () => {
        const { engine } = globalThis as unknown as EngineGlobal;
        const { model } = await engine.request("load", { location: "/models/endless" });
        const controller = new AbortController();
        const messages = [{ role: "user", content: "Hello" }];
        const rendering = engine.request("prompt", { model, messages }, { signal: controller.signal }).then(
          () => "none",
          (error: Error) => error.name,
        );
        const places = (await engine.request("list", {})).length;
        setTimeout(() => controller.abort(), 300);
        return { name: await rendering, places };
      });
      assert.equal(places, 4);
      assert.equal(name, "Interrupted");
    });

    test("disposing of a model ends what it generates, as an error", async () => {
      const message = await page.evaluate(async () => {
        const { engine } = globalThis as unknown as EngineGlobal;
        const { model } = await engine.request("load", { location: "/models/mini-v3", threads: 2 });
        let begin = () => {};
        const begun = new Promise<void>((resolve) => {
          begin = resolve;
        });
        const generating = engine
          .request("generateIds", { model, ids: [0, 5, 6] }, { onEvent: () => begin() })
          .then(
            () => "none",
            (error: Error) => error.message,
          );
        await begun;
        await engine.request("dispose", { model });
        return generating;
      });
      assert.match(message, /^Cannot go on: the model has been disposed of/);
    });

    test("a shard that is cut off or altered on its way is refused", async () => {
      const shard = "/models/mini-v3/model.safetensors.index.json";
      const { page: fresh } = await openPage(browser, served.url);
      served.instead.set(shard, (_, response) => void response.writeHead(200).end("{}"));
      const cut = await faultInPage(fresh, "inspect", { location: "/models/mini-v3" });
      assert.equal(cut.code, "changed");
      assert.match(cut.message, /the server gives 2 bytes, wanted \d+$/);
      served.instead.delete(shard);
      const report = await fresh.evaluate(() =>
        (globalThis as unknown as EngineGlobal).engine.request("inspect", { location: "/models/mini-v3" }),
      );
      assert.deepEqual(report.problems, []);
      await fresh.close();
    });

    test("a file that the browser has kept, and that has changed since, is asked of the server again", async () => {
      const { page: fresh } = await openPage(browser, served.url);
      const config = readFileSync(repositoryFile("models/mini-v3/config.json"));
      const path = "/models/mini-v3/config.json";
      const serve = (bytes: Uint8Array) =>
        served.instead.set(path, (_, response) => {
          response.writeHead(200, { "Cache-Control": "max-age=1000" }).end(bytes);
        });
      serve(config.map((byte, i) => (i === 20 ? byte ^ 1 : byte)));
      await fresh.evaluate(async (path) => void (await (await fetch(path)).text()), path); // an earlier visit
      serve(config);
      served.asked.length = 0;
      const report = await fresh.evaluate(() =>
        (globalThis as unknown as EngineGlobal).engine.request("inspect", { location: "/models/mini-v3" }),
      );
      assert.equal(report.label, "mini-v3");
      assert.equal(served.asked.filter((asked) => asked === path).length, 1);
      served.instead.clear();
      await fresh.close();
    });

    test("a page without models.json, or without the engine's script, says so", async () => {
      served.instead.set("/models.json", (_, response) => void response.writeHead(404).end());
      const without = await openPage(browser, served.url);
      assert.match(
        (await without.page.textContent("#state"))!,
        /^Cannot read "http.*models.json": the server answers with status 404, wanted 200$/,
      );
      served.instead.clear();
      served.instead.set("/assets/engine-worker.js", (_, response) => void response.writeHead(404).end());
      const broken = await browser.newPage();
      await broken.goto(served.url);
      await waitForState(broken, /^Cannot run the engine: its script could not be loaded$/);
      served.instead.clear();
      await Promise.all([without.page.close(), broken.close()]);
    });

    if (isolated) {
      test("a rank whose script cannot be loaded fails the loading", async () => {
        const { page: fresh } = await openPage(browser, served.url);
        served.instead.set("/assets/rank-worker.js", (_, response) => void response.writeHead(404).end());
        const fault = await faultInPage(fresh, "load", { location: "/models/mini-v3" });
        assert.match(fault.message, /^Cannot go on: a thread of the model could not be started$/);
        served.instead.clear();
        await fresh.close();
      });
    }
  });
}
