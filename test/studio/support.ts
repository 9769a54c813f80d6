/** The studio in a real browser, over a real server with the small models. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { packageFile } from "../../src/checkpoint/node.ts";
import { type RunningServer, type RunOptions, startServed } from "../support/served.ts";
import { type Ends, temporaryFolder } from "../support/temporary-folder.ts";

export interface StudioRunning extends RunningServer {
  /** Where children are built. */
  children: string;
}

const PLACES = ["models", "recipes/mini/r1t.yaml", "recipes/mini/attention-blend.yaml"];

export async function startStudio(
  ends: Ends,
  { runs = [], ...options }: Partial<RunOptions> & { runs?: string[] } = {},
): Promise<StudioRunning> {
  const children = join(temporaryFolder(ends), "children");
  mkdirSync(children);
  const served = await startServed({
    places: PLACES,
    ...options,
    studio: { folders: ["models", children], children, runs },
  });
  return { ...served, children };
}

export interface Opened {
  page: Page;
  /** What the page has complained of: errors, violations of its policy. */
  complaints: string[];
}

export interface OpenOptions {
  width?: number;
  dark?: boolean;
}

export async function openStudioPage(
  browser: Browser,
  url: string,
  { width = 1280, dark = false }: OpenOptions = {},
): Promise<Opened> {
  const context = await browser.newContext({
    viewport: { width, height: 860 },
    colorScheme: dark ? "dark" : "light",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
  page.on("console", (message) => {
    // What the browser says of a status is the server's to say; the pages show it.
    if (message.type() === "error" && !/status of 4\d\d/.test(message.text()))
      complaints.push(message.text());
  });
  await page.goto(url);
  await page.locator("h1").waitFor();
  return { page, complaints };
}

interface Violation {
  id: string;
  nodes: { target: string[]; html: string }[];
}

let axe: string | undefined;

/** What axe finds wrong, a line each; by the rules of one tag alone where it is given. */
export async function axeFindings(page: Page, tag?: string): Promise<string[]> {
  axe ??= readFileSync(packageFile("node_modules/axe-core/axe.min.js"), "utf8");
  await page.evaluate(axe);
  const { violations } = (await page.evaluate(
    `axe.run(document, ${JSON.stringify(tag ? { runOnly: [tag] } : {})})`,
  )) as { violations: Violation[] };
  return violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ target, html }) => `${target} ${html}`).join("; ")}`,
  );
}

/** Pixels that the page is wider than its window. */
export async function overflowOf(page: Page): Promise<number> {
  return (await page.evaluate("document.documentElement.scrollWidth - innerWidth")) as number;
}
