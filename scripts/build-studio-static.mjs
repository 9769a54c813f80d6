// Makes a folder of static files with the studio and an engine in it: any server of files can give it out, and everything
// runs in the browser. Usage: node scripts/build-studio-static.mjs [--out FOLDER] [checkpoint …]
//
// Default: out/studio, with models/mini-v3, models/mini-r1 and models/mini-r1-1776. `_headers` says in the form of Netlify and
// Cloudflare Pages which headers the files want; docs/SERVING.md has them for others. Without them it runs on one thread.
import { spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const words = process.argv.slice(2);
const outAt = words.indexOf("--out");
const out = resolve(outAt < 0 ? join(root, "out/studio") : (words.splice(outAt, 2)[1] ?? ""));
const unknown = words.find((word) => word.startsWith("--"));
if (unknown !== undefined || (outAt >= 0 && out === resolve(""))) {
  console.error(
    `Cannot build the studio: ${unknown ? `"${unknown}" is not known` : "--out names no folder"}`,
  );
  process.exit(2);
}
const named =
  words.length > 0 ? words : ["mini-v3", "mini-r1", "mini-r1-1776"].map((name) => join(root, "models", name));

rmSync(join(out, "assets"), { recursive: true, force: true }); // scripts of earlier versions
const engine = [
  "scripts/build-browser.mjs",
  "--out",
  out,
  "--no-page",
  ...named.map((folder) => resolve(folder)),
];
const { status } = spawnSync(process.execPath, engine, { cwd: root, stdio: ["ignore", 2, 2] });
if (status !== 0) process.exit(status ?? 1);
await build({
  root: join(root, "src/studio-static"),
  base: "./",
  configFile: false,
  logLevel: "warn",
  publicDir: false,
  build: {
    outDir: out,
    emptyOutDir: false,
    target: ["chrome123", "firefox128", "safari18"],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
const policy = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "worker-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Content-Security-Policy": policy,
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
};
const lines = Object.entries(headers).map(([name, value]) => `  ${name}: ${value}`);
writeFileSync(join(out, "_headers"), `/*\n${lines.join("\n")}\n`);
console.log(`studio: ${relative(process.cwd(), out) || "."}`);
