/** The engine in Chromium against the engine in Node: the same numbers, the same child, the same tokens. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { build } from "../../src/build/build.ts";
import { loadModel } from "../../src/library/language-model.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { parseRecipe } from "../../src/recipe/parse.ts";
import { compare } from "../../src/survey/compare.ts";
import { runMain } from "../cli/run-main.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { faultInPage, greedyInNode, greedyInPage, QUESTION, recipeOf } from "./ask-engine.ts";
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

/** What a page has, and the types of Node have not. */
interface LinkMaker {
  createElement(tag: "a"): { click(): void };
}

const MODEL = repositoryFile("models/mini-r1");

for (const isolated of [false, true]) {
  const mode = isolated ? "with threads" : "without threads";
  describe(`the engine in a browser, ${mode}`, { skip: noBrowser }, () => {
    let served: ServedFolder;
    let page: Page;
    let complaints: string[];
    const ends = endsOf(after);
    before(async () => {
      served = await serveFolder(ends, bundledFolder(ends), { isolated });
      ({ page, complaints } = await openPage(await startBrowser(ends), served.url));
    });

    test("start() says whether ranks are threads", async () => {
      const state = await page.textContent("#state");
      assert.match(state!, isolated ? /^Ready, with threads on \d+ cores$/ : /^Ready, without threads$/);
    });

    test("list() gives the checkpoints of models.json", async () => {
      const places = await page.evaluate(() =>
        (globalThis as unknown as EngineGlobal).engine.request("list", {}),
      );
      assert.deepEqual(
        places.map(({ location, label, kind }) => ({ location, label, kind })),
        [
          { location: "/models/mini-v3", label: "mini-v3", kind: "models" },
          { location: "/models/mini-r1", label: "mini-r1", kind: "models" },
        ],
      );
    });

    test("inspect() gives what the command gives", async () => {
      const found = await page.evaluate(() =>
        (globalThis as unknown as EngineGlobal).engine.request("inspect", { location: "/models/mini-r1" }),
      );
      const { stdout } = runMain("inspect", MODEL, "--json");
      const { schemaVersion, ...told } = JSON.parse(stdout) as typeof found & { schemaVersion: number };
      assert.equal(schemaVersion, 1);
      assert.deepEqual({ ...found, location: "" }, { ...told, location: "" });
    });

    test("compare() gives Node's report to the last bit, and tells how far it is", async () => {
      const { report, kinds } = await page.evaluate(async () => {
        const kinds: string[] = [];
        const report = await (globalThis as unknown as EngineGlobal).engine.request(
          "compare",
          { base: "/models/mini-v3", other: "/models/mini-r1" },
          { onEvent: ({ kind }) => void kinds.push(kind) },
        );
        return { report, kinds };
      });
      const expected = await compare(repositoryFile("models/mini-v3"), MODEL);
      const blank = { base: null, other: null };
      assert.deepEqual({ ...report, ...blank }, JSON.parse(JSON.stringify({ ...expected, ...blank })));
      assert.equal(kinds[0], "started");
      assert.equal(kinds.at(-1), "finished");
    });

    for (const name of ["r1t.yaml", "attention-blend.yaml"]) {
      test(`plan() of ${name} has Node's digest`, async () => {
        const digest = await page.evaluate(
          async (text) => (await (globalThis as unknown as EngineGlobal).engine.request("plan", text)).digest,
          recipeOf(name),
        );
        assert.equal(digest, (await planRecipe(repositoryFile("recipes/mini", name))).digest);
      });

      test(`build() of ${name} gives the bytes of a build on disk, verified; its tokens are Node's`, async (t) => {
        const folder = join(temporaryFolder(t), "child");
        const plan = await planRecipe(repositoryFile("recipes/mini", name));
        await build(plan, folder);
        const { built, hashes, steps } = await page.evaluate(async (text) => {
          const { engine } = globalThis as unknown as EngineGlobal;
          const steps: string[] = [];
          const built = await engine.request("build", text, {
            onEvent: ({ kind, event }) => void steps.push(`${kind} ${event.kind}`),
          });
          const hashes: Record<string, string> = {};
          for (const { name } of built.files) {
            const bytes = await engine.request("read", { location: built.location, name });
            const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
            hashes[name] = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
          }
          return { built, hashes, steps };
        }, recipeOf(name));
        assert.deepEqual(built.findings, []);
        for (const step of ["build shard-written", "build finished", "verify progress", "verify finished"])
          assert.ok(steps.includes(step), `${step} was not told`);
        assert.equal(built.planDigest, plan.digest);
        // chimera.json and the card name the parents' folders, which lie elsewhere.
        const same = Object.keys(hashes).filter((file) => !["chimera.json", "README.md"].includes(file));
        assert.ok(same.filter((file) => file.endsWith(".safetensors")).length === 2);
        for (const file of same) {
          const expected = createHash("sha256")
            .update(readFileSync(join(folder, file)))
            .digest("hex");
          assert.equal(hashes[file], expected, `${file} differs`);
        }
        for (const { name, sha256 } of built.shards) assert.equal(hashes[name], sha256);
        const { lineage, totals } = await page.evaluate(
          (location) => (globalThis as unknown as EngineGlobal).engine.request("inspect", { location }),
          built.location,
        );
        assert.equal(lineage!.planDigest, plan.digest);
        assert.equal(totals.tensors, plan.totals.tensors.all);
        const { total } = await page.evaluate(
          (other) =>
            (globalThis as unknown as EngineGlobal).engine.request("compare", {
              base: "/models/mini-v3",
              other,
            }),
          built.location,
        );
        assert.ok(
          total.identical > 50 && total.identical < total.tensors,
          `${total.identical} are identical`,
        );
        assert.deepEqual(total, (await compare(repositoryFile("models/mini-v3"), folder)).total);

        const expected = await greedyInNode(folder);
        const { threads, streamed, ...found } = await greedyInPage(page, { location: built.location });
        assert.deepEqual(found, expected);
        const { reasoning, content } = found.output;
        assert.deepEqual(streamed, { reasoning, content });
        assert.equal(threads, 1); // for so small a model threads take longer than they save
      });
    }

    test("build() where something is: the same child stays, another is refused, and so are two at once", async () => {
      const told = await page.evaluate(
        async ({ one, other }) => {
          const { engine } = globalThis as unknown as EngineGlobal;
          const location = "/children/twice";
          const outcome = (text: object) =>
            engine.request("build", { ...one, ...text, location }).then(
              ({ findings, files }) => `${findings!.length} findings, ${files.length} files`,
              ({ name, code }) => `${name} ${code}`,
            );
          const together = await Promise.all([outcome({}), outcome({})]);
          const then = [await outcome({}), await outcome(other)];
          await engine.request("remove", { location });
          const parent = engine.request("build", { ...one, location: "/models/mini-v3" });
          return [...together, ...then, await parent.catch(({ name, code }) => `${name} ${code}`)];
        },
        { one: recipeOf("r1t.yaml"), other: recipeOf("attention-blend.yaml") },
      );
      const whole = "0 findings, 9 files";
      assert.deepEqual(told, [
        ...[whole, "BuildError locked", whole],
        ...["BuildError other-build", "BuildError not-a-folder"],
      ]);
    });

    test("load() of a recipe runs its virtual child: Node's tokens at λ 0.5 and 0.7, with 2 threads", async (t) => {
      const half = recipeOf("r1t-half.yaml");
      const folder = temporaryFolder(t);
      for (const [v3, r1] of [
        ["0.5", "0.5"],
        ["0.3", "0.7"],
      ]) {
        const recipe = half.recipe.replace("{ v3: 0.5, r1: 0.5 }", `{ v3: ${v3}, r1: ${r1} }`);
        const onDisk = recipe.replaceAll("../../models", repositoryFile("models"));
        writeFileSync(join(folder, "recipe.yaml"), onDisk);
        const expected = await greedyInNode(join(folder, "recipe.yaml"));
        const { threads, streamed: _, ...found } = await greedyInPage(page, { ...half, recipe, threads: 2 });
        assert.deepEqual(found, expected);
        assert.equal(threads, isolated ? 2 : 1);
        const byLambda = await greedyInPage(page, { ...half, lambda: { r1: Number(r1) } });
        assert.deepEqual(byLambda.ids, expected.ids);
      }
    });

    test("load() with INT8 weights gives Node's tokens", async () => {
      const model = await loadModel(MODEL, { weights: "int8" });
      const ids: number[] = [];
      for await (const id of model.generateIds([0, 632, 274, 268], { maxTokens: 30 })) ids.push(id);
      await model.dispose();
      const found = await page.evaluate(async () => {
        const { engine } = globalThis as unknown as EngineGlobal;
        const { model } = await engine.request("load", { location: "/models/mini-r1", weights: "int8" });
        const ids = await engine.request("generateIds", { model, ids: [0, 632, 274, 268], maxTokens: 30 });
        await engine.request("dispose", { model });
        return ids;
      });
      assert.deepEqual(found, ids);
    });

    test("two models answer side by side as each alone; loading tells how far it is, and can be stopped", async () => {
      const { alone, together, kinds, stopped } = await page.evaluate(async (messages) => {
        const { engine } = globalThis as unknown as EngineGlobal;
        const kinds: string[] = [];
        const places = ["/models/mini-v3", "/models/mini-r1"];
        const loaded = await Promise.all(
          places.map((location) =>
            engine.request("load", { location }, { onEvent: ({ kind }) => void kinds.push(kind) }),
          ),
        );
        const ask = async (model: number) =>
          (await engine.request("generate", { model, messages, temperature: 0, maxTokens: 60 })).output;
        const alone = [await ask(loaded[0]!.model), await ask(loaded[1]!.model)];
        const together = await Promise.all(loaded.map(({ model }) => ask(model)));
        await engine.request("dispose", {});
        const stopped = await engine
          .request("load", { location: "/models/mini-v3" }, { signal: AbortSignal.abort() })
          .then(
            () => "none",
            (error: Error) => error.name,
          );
        return { alone, together, kinds, stopped };
      }, QUESTION);
      assert.deepEqual(together, alone);
      assert.notDeepEqual(alone[0], alone[1]);
      for (const kind of ["placed", "progress", "finished"]) assert.ok(kinds.includes(kind), kind);
      assert.equal(stopped, "Interrupted");
    });

    test("archive() gives all files as a tar", async (t) => {
      const begun = page.waitForEvent("download");
      const archive = await page.evaluate(async () => {
        const { engine, document } = globalThis as unknown as EngineGlobal & { document: LinkMaker };
        const bytes = await engine.request("archive", { location: "/models/mini-r1" });
        const link = document.createElement("a");
        Object.assign(link, { href: URL.createObjectURL(new Blob([bytes])), download: "mini-r1.tar" });
        link.click();
        return bytes.length;
      });
      const download = await begun;
      const file = join(temporaryFolder(t), "mini-r1.tar");
      await download.saveAs(file);
      const tar = readFileSync(file);
      assert.equal(tar.length, archive);
      const config = readFileSync(join(MODEL, "config.json"));
      const name = "mini-r1/config.json";
      assert.equal(tar.subarray(0, name.length).toString(), name);
      assert.deepEqual(tar.subarray(512, 512 + config.length), config);
    });

    test("generate() in a conversation computes only what is new", async () => {
      const stats = await page.evaluate(async (messages) => {
        const { engine } = globalThis as unknown as EngineGlobal;
        const { model } = await engine.request("load", { location: "/models/mini-r1", threads: 2 });
        const wishes = { model, conversation: "a", temperature: 0, maxTokens: 100 };
        const first = await engine.request("generate", { ...wishes, messages });
        const more = [
          ...messages,
          { role: "assistant", content: first.output.content },
          { role: "user", content: "What is 3 + 4?" },
        ];
        const second = await engine.request("generate", { ...wishes, messages: more });
        await engine.request("dispose", { model });
        return [first.stats, second.stats];
      }, QUESTION);
      assert.equal(stats[0]!.cachedTokens, 0);
      assert.ok(stats[1]!.cachedTokens > 5, `${stats[1]!.cachedTokens} tokens were found in the cache`);
    });

    test("an abort ends generate() where it is, and a build as Interrupted", async () => {
      const { stats, thrown } = await page.evaluate(async (text) => {
        const { engine } = globalThis as unknown as EngineGlobal;
        const { model } = await engine.request("load", { location: "/models/mini-r1" });
        const generation = new AbortController();
        const { stats } = await engine.request(
          "generate",
          { model, messages: [{ role: "user", content: "What is 17 + 25?" }], temperature: 0, stop: ["@"] },
          {
            signal: generation.signal,
            onEvent: ({ kind }) => kind === "reasoning" && generation.abort(),
          },
        );
        await engine.request("dispose", { model });
        const signal = AbortSignal.abort();
        const thrown = await engine
          .request("build", { ...text, location: "/children/stopped" }, { signal })
          .then(
            () => "",
            ({ name }) => name as string,
          );
        const left = await engine.request("list", {});
        return { stats, thrown: thrown + left.some(({ location }) => location === "/children/stopped") };
      }, recipeOf("r1t.yaml"));
      assert.equal(stats.finish, "aborted");
      assert.ok(stats.tokens < 60, `${stats.tokens} tokens came after all`);
      assert.equal(thrown, "Interruptedfalse");
    });

    test("errors come with class, code, text and note; a recipe's with all problems and places", async () => {
      const missing = await faultInPage(page, "inspect", { location: "/models/mini-v4" });
      assert.equal(missing.name, "CheckpointError");
      assert.equal(missing.code, "missing");
      assert.equal(missing.message, 'Cannot open "/models/mini-v4": no checkpoint has this place');
      assert.match(missing.note!, /"\/models\/mini-v3"/);

      const recipe = recipeOf("r1t.yaml").recipe.replace("base: v3", "bas: v3").replace("r1: 1", "r2: 1");
      const { name, problems } = await faultInPage(page, "plan", { recipe, file: "/recipes/mini/r1t.yaml" });
      assert.equal(name, "RecipeError");
      assert.throws(
        () => parseRecipe(recipe, { file: "/recipes/mini/r1t.yaml" }),
        (error: { problems: unknown }) => {
          assert.deepEqual(problems, JSON.parse(JSON.stringify(error.problems)));
          return true;
        },
      );

      const strange = await faultInPage(page, "generate", { model: 99, messages: [] });
      assert.equal(strange.name, "RangeError");
      assert.match(strange.message, /^Cannot use model 99: it is not loaded/);
    });

    test("keep() stores a child that a later visit finds, runs and removes", async () => {
      const built = await page.evaluate(async (text) => {
        const { engine } = globalThis as unknown as EngineGlobal;
        await engine.request("build", { ...text, location: "/children/for-later", verify: false });
        return engine.request("keep", { location: "/children/for-later" });
      }, recipeOf("r1t.yaml"));
      assert.equal(built.location, "/kept/for-later");
      assert.equal(built.kind, "kept");
      const again = await faultInPage(page, "keep", { location: "/children/for-later" });
      assert.equal(again.code, "exists");
      await page.reload();
      await waitForState(page, /^Ready/);
      const expected = await greedyInNode(repositoryFile("recipes/mini/r1t.yaml"));
      const { ids } = await greedyInPage(page, { location: "/kept/for-later", threads: 2 });
      assert.deepEqual(ids, expected.ids);
      const left = await page.evaluate(async () => {
        const { engine } = globalThis as unknown as EngineGlobal;
        await engine.request("remove", { location: "/kept/for-later" });
        return (await engine.request("list", {})).map(({ location }) => location);
      });
      assert.deepEqual(left, ["/models/mini-v3", "/models/mini-r1"]);
    });

    test("the page answers a question that is typed in", async () => {
      await page.selectOption("#location", "/models/mini-r1");
      await page.fill("#question", "What is 17 + 25?");
      await page.click("button");
      await waitForState(page, /a second$/);
      assert.match((await page.textContent("#answer"))!, /42/);
    });

    test("a parent is fetched once, and nothing breaks the policy of the page", () => {
      const shard = "/models/mini-r1/model-00001-of-000002.safetensors";
      assert.equal(served.asked.filter((path) => path === shard).length, 2); // one for each visit
      assert.deepEqual(complaints, []);
    });
  });
}
