/** The whole way through the studio, in a real browser over a real server: from what is here to a child that answers. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import type { Page } from "playwright-core";
import { endsOf, noBrowser, startBrowser } from "../browser/browser-page.ts";
import { axeFindings, openStudioPage, type StudioRunning, startStudio } from "./support.ts";

describe("the way through the studio", { skip: noBrowser }, () => {
  const ends = endsOf(after);
  let server: StudioRunning;
  let page: Page;
  let complaints: string[];
  const title = (name: string | RegExp) => page.getByRole("heading", { level: 1, name }).waitFor();
  const editor = () => page.getByRole("textbox", { name: "Recipe, YAML" });

  before(async () => {
    server = await startStudio(ends);
    const browser = await startBrowser(ends);
    ({ page, complaints } = await openStudioPage(browser, server.url));
  });
  after(() => server?.close());

  test("Checkpoints lists what is served, and leads to one", async () => {
    await title("Checkpoints");
    const names = await page.locator(".card h3 a").allTextContents();
    assert.deepEqual(names, ["mini-r1", "mini-r1-1776", "mini-v3", "r1t", "attention-blend"]);
    await page.getByRole("link", { name: "mini-v3", exact: true }).click();
    await title("mini-v3");
    assert.equal(new URL(page.url()).pathname, "/checkpoints/mini-v3");
    await page.getByText("501 tensors", { exact: true }).waitFor();
    await page.getByRole("searchbox", { name: "Name contains" }).fill("experts.3 up_proj.weight layers.1");
    await page.getByText("2 tensors", { exact: true }).waitFor();
    await page.getByText("config.json", { exact: true }).first().click();
    await page.getByText('"n_routed_experts": 16').waitFor();
  });

  test("Compare measures two, and δ says at once what would be merged", async () => {
    await page.getByRole("link", { name: "Compare", exact: true }).first().click();
    await title("Compare");
    await page.getByLabel("Base").selectOption("mini-v3");
    await page.getByLabel("Other").selectOption("mini-r1");
    await page.getByRole("button", { name: "Compare" }).click();
    const slider = page.getByRole("slider", { name: /δ/ });
    await slider.waitFor();
    assert.equal(new URL(page.url()).search, "?base=mini-v3&other=mini-r1");
    const merged = page.locator(".delta dd").first();
    assert.equal(await merged.textContent(), "144of 144");
    await slider.press("End");
    assert.equal(await merged.textContent(), "0of 144");
    await slider.press("PageDown");
    const left = Number(/^\d+/.exec((await merged.textContent())!)![0]);
    assert.ok(left > 0 && left < 144, `${left} of 144 at the step before`);
  });

  test("Arrow keys move over the map, and Enter opens its tensors", async () => {
    const map = page.getByRole("application", { name: /layer and expert/ });
    await map.press("ArrowRight");
    await map.press("ArrowDown");
    await map.press("ArrowDown");
    const readout = page.locator("section", { has: map }).locator(".heat-readout");
    assert.match((await readout.textContent())!, /^Layer 2, expert 1: 0\.\d+ .*3 tensors/);
    await map.press("Enter");
    await page.getByRole("heading", { name: "Expert 1, layer 2" }).waitFor();
    await page.getByText("model.layers.2.mlp.experts.1.down_proj.weight").waitFor();
    assert.deepEqual(await axeFindings(page), []);
  });

  test("Assemble takes over δ; form and text agree both ways", async () => {
    await page.getByRole("link", { name: "Assemble with this δ" }).click();
    await title("Assemble");
    await page.getByText("As the recipe stands.").waitFor();
    const delta = page.getByRole("textbox", { name: /δ/ });
    const said = await delta.inputValue();
    assert.ok(Number(said) > 0);
    assert.match(await editor().inputValue(), new RegExp(`threshold: ${said}\\n`));

    await delta.fill("0.004");
    await page.getByRole("textbox", { name: "λ of mini-r1" }).fill("0.5");
    await waitUntil(async () =>
      /weights: \{ mini-r1: 0\.5 \}[\s\S]*threshold: 0\.004/.test(await editor().inputValue()),
    );

    await editor().fill((await editor().inputValue()).replace("mini-r1: 0.5 }", "mini-r1: 0.25 }"));
    const lambda = page.getByRole("textbox", { name: "λ of mini-r1" });
    await waitUntil(async () => (await lambda.inputValue()) === "0.25");
    await page.getByText("288 merged").waitFor();
  });

  test("A fault of the text is told at its line, and keeps Build from being pressed", async () => {
    const text = await editor().inputValue();
    const wrong = text.replace("tensors: routed-experts", "tensors: routed-exprts");
    assert.notEqual(wrong, text);
    await editor().fill(wrong);
    const line = wrong.split("\n").findIndex((each) => each.includes("exprts")) + 1;
    await page.getByRole("button", { name: `Line ${line}` }).click();
    await page.getByText('Did you mean "routed-experts"?').waitFor();
    assert.equal(await page.locator(".gutter .at-fault").textContent(), String(line));
    assert.equal(await page.getByRole("button", { name: "Build", exact: true }).isDisabled(), true);
    assert.deepEqual(await axeFindings(page), []);
    // The caret stands where the fault does.
    const before = (await editor().evaluate((area) => {
      const { value, selectionStart } = area as unknown as { value: string; selectionStart: number };
      return value.slice(0, selectionStart);
    })) as string;
    assert.equal(before.split("\n").length, line);
    await editor().fill(
      text.replace(/weights: .*/, "weights: { mini-r1: 1 }").replace(/ *threshold: .*\n/, ""),
    );
    await page.getByText("As the recipe stands.").waitFor();
  });

  test("Build writes the child, and ends on its page", async () => {
    await page.getByRole("textbox", { name: "Name of the child" }).fill("journey");
    await page.getByRole("button", { name: "Build", exact: true }).click();
    await title("journey");
    await page.waitForURL("**/checkpoints/journey");
    await page.getByRole("heading", { name: "Lineage" }).waitFor();
    await page.getByText("501 tensors", { exact: true }).waitFor();
    assert.deepEqual(await axeFindings(page), []);
    assert.ok(readdirSync(join(server.children, "journey")).includes("chimera.json"));
    const lineage = JSON.parse(readFileSync(join(server.children, "journey", "chimera.json"), "utf8")) as {
      planDigest: string;
    };
    await page.getByText(lineage.planDigest).waitFor();
  });

  test("Talk has parents and child answer side by side, thinking folded", async () => {
    await page.goto(`${server.url}/talk?models=mini-v3,journey`);
    await page
      .getByRole("textbox", { name: "Temperature" })
      .or(page.getByLabel("Temperature"))
      .first()
      .fill("0");
    await page.getByRole("textbox", { name: "Prompt" }).fill("What is 17 + 25?");
    await page.keyboard.press("Enter");
    const answer = (name: string) => page.getByRole("group", { name: `Answer of ${name}` }).first();
    await answer("journey")
      .getByRole("button", { name: /Regenerate/ })
      .waitFor();
    await answer("mini-v3")
      .getByRole("button", { name: /Regenerate/ })
      .waitFor();
    assert.match((await answer("journey").locator(".text").textContent())!, /42/);
    assert.equal(await answer("journey").locator("details.thinking").getAttribute("open"), null);
    assert.equal(await answer("mini-v3").locator("details.thinking").count(), 0);
    assert.deepEqual(await axeFindings(page), []);
    assert.match((await answer("journey").locator("footer").textContent())!, /\d+ tokens · \d+\/s/);
  });

  test("An edited prompt makes a branch, and the other one stays", async () => {
    await page.getByRole("button", { name: "Edit" }).click();
    await page.getByLabel("The message, edited").fill("Sort 8 32 64 39.");
    await page.getByRole("button", { name: "Go on from here" }).click();
    await page.locator(".prompt-text", { hasText: "Sort 8" }).waitFor();
    await page
      .getByRole("group", { name: "Branch 2 of 2" })
      .getByRole("button", { name: "Branch before" })
      .click();
    assert.equal(await page.locator(".prompt-text").textContent(), "What is 17 + 25?");
  });

  test("λ puts another child in the place of the first, and asks it again", async () => {
    await page.goto(`${server.url}/talk?models=r1t`);
    await page.locator(".prompt-text", { hasText: "17 + 25" }).waitFor(); // the tab keeps its conversation
    const slider = page.getByRole("slider", { name: "λ of r1t" });
    await slider.press("Home");
    const answer = page.getByRole("group", { name: "Answer of r1t" });
    await answer.getByText("λ r1 = 0.00").waitFor();
    await answer.getByRole("button", { name: /Regenerate/ }).waitFor();
    assert.equal(await answer.locator("details.thinking").count(), 0); // it is mini-v3, which does not think
    await slider.press("End");
    await answer.getByText("λ r1 = 1.00").waitFor();
    await answer.locator("details.thinking").waitFor();
  });

  test("Export gives all branches as JSON", async () => {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: "Export JSON" }).click(),
    ]);
    const content = JSON.parse(readFileSync((await download.path())!, "utf8")) as {
      format: string;
      turns: { prompt: string }[];
    };
    assert.equal(content.format, "chimera-conversation");
    assert.deepEqual(
      content.turns.map(({ prompt }) => prompt),
      ["What is 17 + 25?", "Sort 8 32 64 39."],
    );
  });

  test("no page has complained on the way", () => {
    assert.deepEqual(complaints, []);
  });
});

/** Waits for what comes soon. */
async function waitUntil(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if (await holds()) return;
    await new Promise((resume) => setTimeout(resume, 50));
  }
  throw new Error("waited 10 s in vain");
}
