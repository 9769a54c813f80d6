// Makes a folder of static files in which the engine runs in a browser: the workers, a page to try them, checkpoints, and
// models.json with their files. Any server of files can give it out. With these headers ranks are threads; without
// them everything runs in one worker, to the same bits:
//   Cross-Origin-Opener-Policy: same-origin
//   Cross-Origin-Embedder-Policy: require-corp
//
// Usage: node scripts/build-browser.mjs --out FOLDER [--no-page] [checkpoint …]
//   checkpoints: folders, each given out as /models/NAME (none named: models/mini-v3 and models/mini-r1)
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { browserConfig } from "./browser-bundle.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const words = process.argv.slice(2);
const outAt = words.indexOf("--out");
const out = outAt < 0 ? undefined : words[outAt + 1];
if (out === undefined || out.startsWith("--")) {
  console.error("Cannot build for browsers: no folder is given, wanted --out FOLDER");
  process.exit(2);
}
words.splice(outAt, 2);
const hasPage = !words.includes("--no-page");
const named = words.filter((word) => !word.startsWith("--"));
const unknown = words.find((word) => word.startsWith("--") && word !== "--no-page");
if (unknown !== undefined) {
  console.error(`Cannot build for browsers: "${unknown}" is not known, wanted --out FOLDER or --no-page`);
  process.exit(2);
}
const folders = named.length > 0 ? named : ["mini-v3", "mini-r1"].map((name) => join(root, "models", name));

const page = join(root, "src/browser/page/index.html");
await build(browserConfig({ outDir: resolve(out), inputs: hasPage ? { index: page } : {} }));

const checkpoints = folders.map((folder) => {
  const name = basename(resolve(folder));
  const url = `models/${name}/`;
  rmSync(join(out, url), { recursive: true, force: true });
  mkdirSync(join(out, url), { recursive: true });
  const names = readdirSync(folder).filter((file) => statSync(join(folder, file)).isFile());
  const files = names.sort().map((file) => {
    copyFileSync(join(folder, file), join(out, url, file));
    const bytes = readFileSync(join(out, url, file));
    return {
      name: file,
      byteLength: bytes.length,
      sha256: createHash("sha256").update(bytes).digest("hex"),
    };
  });
  return { location: `/models/${name}`, url, files };
});
const models = { format: "chimera-models", version: 1, checkpoints };
writeFileSync(join(out, "models.json"), `${JSON.stringify(models, null, 1)}\n`);
