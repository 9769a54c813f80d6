// How the engine is bundled for browsers: for scripts/build-browser.mjs, and for any Vite project that has a page
// with the engine.
//
// Three rules, and a module that none of them covers ends the bundling:
// - src/browser/twins/X stands in for src/X;
// - src/browser/shims/NAME.ts stands in for node:NAME, and for the globals Buffer and setImmediate;
// - `import.meta.url` of a module of the engine is its name, as the twin of import-weights.ts takes it.
import { existsSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const src = join(root, "src");
const browser = join(src, "browser");

/** Path below src/, with slashes; undefined for what lies elsewhere, or in src/browser. */
function engineName(file) {
  const name = relative(src, file).replaceAll("\\", "/");
  return name.startsWith("../") || name.startsWith("browser/") ? undefined : name;
}

/** The Vite plugin. */
export function chimeraEngine() {
  return {
    name: "chimera-engine",
    enforce: "pre",
    async resolveId(source, importer, options) {
      if (source.startsWith("node:")) {
        const shim = join(browser, "shims", `${source.slice(5)}.ts`);
        if (existsSync(shim)) return shim;
        this.error(`Cannot bundle "${source}": src/browser/shims has none, imported by ${importer}`);
      }
      if (!source.startsWith(".") || importer === undefined) return null;
      const found = await this.resolve(source, importer, { ...options, skipSelf: true });
      const name = found && engineName(found.id);
      const twin = name && join(browser, "twins", name);
      return twin && existsSync(twin) ? twin : found;
    },
    transform(code, id) {
      const name = engineName(id);
      if (name === undefined || !code.includes("import.meta.url")) return null;
      return { code: code.replaceAll("import.meta.url", JSON.stringify(`chimera:${name}`)), map: null };
    },
  };
}

/** Entries whose scripts must lie side by side, under these names. */
export const WORKERS = Object.fromEntries(
  ["engine-worker", "rank-worker", "template-worker"].map((name) => [name, join(browser, `${name}.ts`)]),
);

/**
 * Vite's configuration: the workers, and with them the pages given as `inputs` by name.
 *
 * No script is inline, and nothing is evaluated: script-src 'self' 'wasm-unsafe-eval' is enough.
 */
export function browserConfig({ outDir, pageRoot = join(browser, "page"), inputs = {} }) {
  return {
    configFile: false,
    root: pageRoot,
    base: "./",
    publicDir: false,
    logLevel: "warn",
    plugins: [chimeraEngine()],
    build: {
      outDir,
      emptyOutDir: false,
      target: "es2022",
      modulePreload: false,
      assetsInlineLimit: 0,
      license: { fileName: "assets/licences.md" },
      rolldownOptions: {
        input: { ...WORKERS, ...inputs },
        transform: {
          inject: {
            Buffer: [join(browser, "shims/buffer.ts"), "Buffer"],
            setImmediate: [join(browser, "shims/set-immediate.ts"), "setImmediate"],
          },
        },
        output: { entryFileNames: "assets/[name].js", chunkFileNames: "assets/[name]-[hash].js" },
      },
    },
  };
}
