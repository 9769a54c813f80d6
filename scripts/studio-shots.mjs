// Makes the pictures of the studio in docs/img: a real server over the small models, a real Chromium.
// Usage: node scripts/studio-shots.mjs [FOLDER]     after npm run build; the variable CHROMIUM says where another one is
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = resolve(process.argv[2] ?? join(root, "docs/img"));
const work = mkdtempSync(join(tmpdir(), "chimera-shots-"));
const chimera = join(root, "bin/chimera.mjs");
mkdirSync(folder, { recursive: true });

const sweep = [
  "sweep",
  "recipes/mini/r1t.yaml",
  "--lambda",
  "r1=0:1:0.1",
  "--n",
  "100",
  "-o",
  join(work, "runs/sweep"),
];
const { status } = spawnSync(process.execPath, [chimera, ...sweep], {
  cwd: root,
  stdio: ["ignore", "ignore", "inherit"],
});
if (status !== 0) process.exit(status ?? 1);
const places = [
  "models",
  "recipes/mini/r1t.yaml",
  "--children",
  join(work, "children"),
  "--runs",
  join(work, "runs"),
];
const server = spawn(
  process.execPath,
  [chimera, "serve", ...places, "--port", "0", "--json", "--log", "none"],
  {
    cwd: root,
    stdio: ["ignore", "pipe", "ignore"],
  },
);
try {
  const [line] = await new Promise((done) =>
    createInterface({ input: server.stdout }).once("line", (...all) => done(all)),
  );
  const { url } = JSON.parse(line);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
  });
  try {
    await shoot(browser, url);
  } finally {
    await browser.close();
  }
} finally {
  server.kill("SIGINT");
  rmSync(work, { recursive: true, force: true });
}

async function shoot(browser, url) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 860 }, colorScheme: "light" });
  const shot = (name, of = page) => of.screenshot({ path: join(folder, `studio-${name}.png`) });
  await page.goto(url);
  await page.getByRole("link", { name: "mini-v3", exact: true }).waitFor();
  await shot("checkpoints");
  await page.goto(`${url}/checkpoints/mini-r1`);
  await page.getByRole("heading", { name: "Tensors" }).waitFor();
  await shot("checkpoint");
  await page.goto(`${url}/compare?base=mini-v3&other=mini-r1`);
  await page.getByText("Shared tensors").waitFor();
  await page.waitForTimeout(300);
  await shot("compare");
  await page.goto(`${url}/assemble`);
  await page.getByText("As the recipe stands.").waitFor();
  await shot("assemble");
  await page.goto(`${url}/talk`);
  await page.getByLabel("Temperature").fill("0");
  await page.getByRole("button", { name: "What is 17 + 25?" }).click();
  await page.getByText("All answers are there").waitFor({ state: "attached" });
  await shot("talk");
  const { studies } = await (await fetch(`${url}/api/runs`)).json();
  await page.goto(`${url}/behaviour/studies/${studies[0].id}`);
  await page.getByRole("heading", { name: "All points" }).waitFor();
  await shot("behaviour");
  const dark = await browser.newPage({ viewport: { width: 1280, height: 860 }, colorScheme: "dark" });
  await dark.goto(`${url}/compare?base=mini-v3&other=mini-r1`);
  await dark.getByText("Shared tensors").waitFor();
  await dark.waitForTimeout(300);
  await shot("compare-dark", dark);
  const phone = await browser.newPage({ viewport: { width: 390, height: 780 }, deviceScaleFactor: 2 });
  await phone.goto(`${url}/talk`);
  await phone.getByRole("button", { name: "What is 17 + 25?" }).click();
  await phone.getByText("All answers are there").waitFor({ state: "attached" });
  await shot("phone", phone);
}
