/** Every page of the studio as people have it: axe, narrow windows, keys, dark and light, what the policy forbids. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Browser } from "playwright-core";
import { endsOf, noBrowser, startBrowser } from "../browser/browser-page.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { axeFindings, openStudioPage, overflowOf, type StudioRunning, startStudio } from "./support.ts";

interface PageCase {
  path: string;
  /** Text that is there when the page is complete. */
  complete: string | RegExp;
}

describe("pages of the studio", { skip: noBrowser }, () => {
  const ends = endsOf(after);
  let server: StudioRunning;
  let browser: Browser;
  const cases: PageCase[] = [
    { path: "/", complete: "Virtual children" },
    { path: "/checkpoints/mini-r1", complete: "501 tensors" },
    { path: "/checkpoints/r1t", complete: "What each parent gives" },
    { path: "/compare?base=mini-v3&other=mini-r1", complete: "What differs most" },
    { path: "/assemble?recipe=attention-blend", complete: "As the recipe stands." },
    { path: "/talk", complete: "Nothing was said yet" },
    { path: "/behaviour", complete: "Accuracy against tokens" },
    { path: "/checkpoints/nothing/here", complete: "There is no such page" },
  ];
  before(async () => {
    const root = join(temporaryFolder(ends), "runs");
    const sweep = ["sweep", "recipes/mini/r1t.yaml", "--lambda", "r1=0:1:0.5", "--n", "12"];
    execFileSync(process.execPath, ["bin/chimera.mjs", ...sweep, "-o", join(root, "sweep")], {
      stdio: "pipe",
    });
    server = await startStudio(ends, { runs: [root] });
    const { runs, studies } = (await (await fetch(`${server.url}/api/runs`)).json()) as {
      runs: { id: string }[];
      studies: { id: string }[];
    };
    cases.push(
      { path: `/behaviour/studies/${studies[0]!.id}`, complete: "All points" },
      { path: `/behaviour/runs/${runs[0]!.id}`, complete: "1 to 12 of 12 answers" },
    );
    browser = await startBrowser(ends);
  });
  after(() => server?.close());

  for (const width of [1280, 390]) {
    test(`every page at ${width} px: axe finds nothing, nothing is cut off, nothing complains`, async () => {
      for (const { path, complete } of cases) {
        const { page, complaints } = await openStudioPage(browser, server.url + path, { width });
        const found =
          complete === "What each parent gives"
            ? page.getByRole("group", { name: complete })
            : page.getByText(complete).first();
        await found.waitFor();
        assert.deepEqual(await axeFindings(page), [], path);
        assert.ok((await overflowOf(page)) <= 0, `${path} is wider than ${width} px`);
        if (width === 1280) {
          // Colours do not depend on the width.
          await page.emulateMedia({ colorScheme: "dark" });
          assert.deepEqual(await axeFindings(page, "cat.color"), [], `${path}, dark`);
        }
        assert.deepEqual(complaints, [], path);
        await page.context().close();
      }
    });
  }

  test("a point of a study leads to its answers, and these can be filtered", async () => {
    const { page } = await openStudioPage(browser, server.url + cases.at(-2)!.path);
    const point = page.locator("svg.plot a").first();
    await point.waitFor();
    await point.focus();
    await page.keyboard.press("Enter");
    await page.waitForURL("**/behaviour/runs/*");
    await page.getByText("1 to 12 of 12 answers").waitFor();
    await page.getByLabel("Only").selectOption("right");
    await page
      .getByText(/answers$|No answer is like that/)
      .first()
      .waitFor();
    assert.equal(await page.locator(".badge.wrong").count(), 0);
    assert.equal(new URL(page.url()).searchParams.get("only"), "right");
    await page.context().close();
  });

  test("the switch goes through light, dark and the system's, and stays for the next visit", async () => {
    const { page } = await openStudioPage(browser, server.url);
    const theme = () => page.evaluate("document.documentElement.dataset.theme ?? 'auto'");
    const press = () => page.getByRole("button", { name: /^Colours/ }).click();
    assert.equal(await theme(), "auto");
    await press();
    await press();
    assert.equal(await theme(), "dark");
    await page.reload();
    await page.locator("h1").waitFor();
    assert.equal(await theme(), "dark");
    const dark = "getComputedStyle(document.documentElement).backgroundColor";
    assert.equal(await page.evaluate(dark), "rgb(19, 19, 22)");
    await page.context().close();
  });

  test("the way back and forward goes through pages, and an address opens its page", async () => {
    const { page } = await openStudioPage(browser, `${server.url}/checkpoints/mini-v3`);
    await page.getByRole("link", { name: "Talk", exact: true }).first().click();
    await page.getByRole("heading", { level: 1, name: "Talk" }).waitFor();
    assert.equal(await page.evaluate("document.activeElement.tagName"), "H1");
    await page.goBack();
    await page.getByRole("heading", { level: 1, name: "mini-v3" }).waitFor();
    await page.goForward();
    await page.getByRole("heading", { level: 1, name: "Talk" }).waitFor();
    await page.context().close();
  });

  test("a server that wants a key is asked with it once it is given", async () => {
    const guarded = await startStudio(ends, { access: { apiKeys: ["right"] }, apiKey: "right" });
    try {
      const context = await browser.newContext();
      const page = await context.newPage();
      await page.goto(guarded.url);
      await page.getByLabel("API key").fill("wrong");
      await page.keyboard.press("Enter");
      await page.getByText("The key that was sent is not right.").waitFor();
      assert.deepEqual(await axeFindings(page), []);
      await page.getByLabel("API key").fill("right");
      await page.keyboard.press("Enter");
      await page.getByRole("heading", { level: 1, name: "Checkpoints" }).waitFor();
      await page.reload();
      await page.getByRole("heading", { level: 1, name: "Checkpoints" }).waitFor();
      await context.close();
    } finally {
      await guarded.close();
    }
  });

  test("Stop ends answers that are on their way", async () => {
    const { page } = await openStudioPage(browser, `${server.url}/talk?models=mini-r1`);
    await page.getByLabel("Tokens at most").fill("1000");
    await page.getByRole("textbox", { name: "System message" }).fill("x ".repeat(100));
    await page.getByRole("textbox", { name: "Prompt" }).fill("What is 239 + 653 + 1 + 2 + 3 + 4?");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Stop", exact: true }).first().click();
    await page.getByText("stopped", { exact: true }).waitFor();
    await page.context().close();
  });
});
