/**
 * The studio without a server, in a real browser: from two parents to a child that is built and answers as it does in Node,
 * with threads and without.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { build } from "../../src/build/build.ts";
import { packageFile } from "../../src/checkpoint/node.ts";
import { loadModel } from "../../src/library/language-model.ts";
import { planRecipe } from "../../src/plan/plan-recipe.ts";
import { gatherOutput, type OutputEvent } from "../../src/text/output-events.ts";
import { endsOf, noBrowser, startBrowser } from "../browser/browser-page.ts";
import { serveFolder } from "../browser/serve-folder.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const QUESTION = "What is 17 + 25?";

async function answerInNode(location: string): Promise<string> {
  const model = await loadModel(location);
  try {
    const events: OutputEvent[] = [];
    for await (const event of model.generate(QUESTION, { temperature: 0, maxTokens: 300 }))
      events.push(event);
    return gatherOutput(events).content;
  } finally {
    await model.dispose();
  }
}

async function openStudio(browser: Browser, url: string): Promise<{ page: Page; complaints: string[] }> {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(url);
  await page.getByRole("heading", { name: "Checkpoints" }).waitFor();
  return { page, complaints };
}

/** Asks the models of an address greedily; the answers by column. */
async function ask(page: Page, url: string, models: string[]): Promise<Map<string, string>> {
  await page.goto(`${url}#/talk?models=${models.join(",")}`);
  await page.getByLabel("Temperature").fill("0");
  await page.getByRole("button", { name: QUESTION }).click();
  await page.getByText("All answers are there").waitFor({ state: "attached", timeout: 60_000 });
  return answersOf(page, models);
}

async function answersOf(page: Page, models: string[]): Promise<Map<string, string>> {
  const answers = new Map<string, string>();
  for (const model of models) {
    const group = page.getByRole("group", { name: `Answer of ${model}`, exact: true });
    answers.set(model, await group.innerText());
  }
  return answers;
}

describe("the studio as static files", { skip: noBrowser }, () => {
  const ends = endsOf(after);
  const folder = temporaryFolder(ends);
  let browser: Browser;
  let wanted: { v3: string; child: string };
  before(async () => {
    const script = packageFile("scripts/build-studio-static.mjs");
    const { status, stderr } = spawnSync(process.execPath, [script, "--out", folder], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    browser = await startBrowser(ends);
    const child = join(temporaryFolder(ends), "child");
    await build(await planRecipe("recipes/mini/r1t.yaml"), child);
    wanted = { v3: await answerInNode("models/mini-v3"), child: await answerInNode(child) };
  });

  test("its files name the headers that they want", () => {
    const headers = readFileSync(join(folder, "_headers"), "utf8");
    assert.match(headers, /Cross-Origin-Embedder-Policy: require-corp/);
    assert.match(headers, /script-src 'self' 'wasm-unsafe-eval'/);
  });

  for (const isolated of [true, false]) {
    test(`from two parents to an answer of their child, ${isolated ? "with threads" : "without threads"}`, async () => {
      const { url } = await serveFolder(ends, folder, { isolated });
      const { page, complaints } = await openStudio(browser, url);
      for (const name of ["mini-v3", "mini-r1", "mini-r1-1776"])
        await page.getByRole("link", { name, exact: true }).waitFor();

      await page.goto(`${url}#/compare?base=mini-v3&other=mini-r1`);
      await page.getByText("Shared tensors").waitFor({ timeout: 60_000 });
      assert.ok((await page.locator("canvas").count()) >= 2);

      await page.goto(`${url}#/assemble?base=mini-v3&other=mini-r1`);
      await page.getByText("As the recipe stands.").waitFor();
      const editor = page.getByRole("textbox", { name: "Recipe, YAML" });
      assert.match(await editor.inputValue(), /weights: \{ mini-r1: 1 \}/);
      await page.getByLabel("Name of the child").fill("kid");
      await page.getByRole("button", { name: "Build", exact: true }).click();
      await page.getByRole("heading", { name: "kid", exact: true }).waitFor({ timeout: 60_000 });
      await page.getByRole("heading", { name: "Tensors" }).waitFor();

      const answers = await ask(page, url, ["mini-v3", "kid"]);
      assert.ok(answers.get("mini-v3")!.includes(wanted.v3), answers.get("mini-v3"));
      assert.ok(answers.get("kid")!.includes(wanted.child), answers.get("kid"));
      assert.match(answers.get("kid")!, /Thinking/);
      assert.deepEqual(complaints, []);
      await page.close();
    });
  }

  test("the slider of λ makes the child anew in its place, and asks it again", async () => {
    const { url } = await serveFolder(ends, folder, { isolated: true });
    const { page, complaints } = await openStudio(browser, url);
    const before = await ask(page, url, ["mini-v3", "r1t"]);
    assert.match(before.get("r1t")!, /Thinking/);
    await page.getByLabel("λ of r1t").fill("0");
    await page.getByText("λ mini-r1 = 0.00").waitFor({ timeout: 60_000 });
    await page.getByText("All answers are there").waitFor({ state: "attached", timeout: 60_000 });
    const now = (await answersOf(page, ["r1t"])).get("r1t")!;
    assert.doesNotMatch(now, /Thinking/);
    assert.ok(now.includes(wanted.v3), now); // λ = 0 is the base
    assert.deepEqual(complaints, []);
    await page.close();
  });

  test("models that are not there are told on the page", async () => {
    const served = await serveFolder(ends, folder);
    served.instead.set("/models.json", (_, response) => response.writeHead(404).end());
    const page = await browser.newPage();
    await page.goto(served.url);
    await page
      .getByRole("alert")
      .getByText(/models\.json.*404/)
      .waitFor();
    await page.close();
  });
});
