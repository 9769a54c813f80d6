/** A real browser with the bundled engine, for tests: Chromium where the system has one. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import type { EngineRequester } from "../../src/browser/engine-api.ts";
import { packageFile } from "../../src/checkpoint/node.ts";
import { type Ends, temporaryFolder } from "../support/temporary-folder.ts";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Undefined where there is none. The variable CHROMIUM says where another lies. */
export const CHROMIUM: string | undefined = [process.env.CHROMIUM ?? "", ...PLACES].find(existsSync);

/** For `skip` of a test: why it cannot run here, or false. */
export const noBrowser: string | false =
  CHROMIUM === undefined && `no Chromium in ${PLACES.join(", ")}; the variable CHROMIUM may say where one is`;

/** What is begun within before() ends with that hook; with this, when the suite does. Last first. */
export function endsOf(after: (end: () => void) => void): Ends {
  const begun: (() => void)[] = [];
  after(() => {
    for (const end of begun) end();
  });
  return { after: (end) => void begun.unshift(end) };
}

/** Bundles the engine and its page as the script does, with models/mini-v3 and models/mini-r1 if no others are named. */
export function bundledFolder(ends: Ends, checkpoints: readonly string[] = []): string {
  const folder = temporaryFolder(ends);
  const script = packageFile("scripts/build-browser.mjs");
  const { status, stderr } = spawnSync(process.execPath, [script, "--out", folder, ...checkpoints], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`scripts/build-browser.mjs ended with status ${status}: ${stderr}`);
  return folder;
}

/** Of a suite: one browser, ended with it. */
export async function startBrowser(ends: Ends): Promise<Browser> {
  // The sandbox of Chromium refuses to run for root.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath: CHROMIUM!, args });
  ends.after(() => void browser.close());
  return browser;
}

export interface OpenedPage {
  page: Page;
  /** What the page has complained of: errors, violations of its policy. */
  complaints: string[];
}

/** Opens the page of a bundle and waits until its engine is there, or has failed. */
export async function openPage(browser: Browser, url: string): Promise<OpenedPage> {
  const page = await browser.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  await page.goto(url);
  await waitForState(page, /^(Ready|Cannot)/);
  return { page, complaints };
}

/** Waits until the page says so. (A condition as a text would be evaluated, which its policy forbids.) */
export async function waitForState(page: Page, text: RegExp): Promise<void> {
  await page.locator("#state", { hasText: text }).waitFor();
}

/** The page's engine, within page.evaluate(). */
export interface EngineGlobal {
  engine: EngineRequester;
}

/** A path of the repository. */
export function repositoryFile(...parts: string[]): string {
  return packageFile(join(...parts));
}
