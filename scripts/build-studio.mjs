// Bundles the studio, src/studio, into a folder. Usage: node scripts/build-studio.mjs [FOLDER] [--quiet]
//
// Default: dist/studio. File names hold hashes of what is in them, so that browsers may keep them for good, and
// building twice gives the same names.
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const [folder = join(root, "dist/studio")] = process.argv.slice(2).filter((word) => !word.startsWith("--"));

await build({
  root: join(root, "src/studio"),
  configFile: false,
  logLevel: process.argv.includes("--quiet") ? "warn" : "info",
  publicDir: false,
  build: {
    outDir: resolve(folder),
    emptyOutDir: true,
    target: ["chrome123", "firefox128", "safari18"],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // data: URLs are for images that code makes
    reportCompressedSize: false,
  },
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
});
