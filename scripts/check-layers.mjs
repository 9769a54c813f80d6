// Fails when a layer imports one that does not stand under it. Usage: node scripts/check-layers.mjs
//
// docs/ARCHITECTURE.md draws the same picture. Also: node:fs only in checkpoint/node*.ts, so that nothing
// above the checkpoint layer learns about files, and printing only in cli/.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const MAY_IMPORT = {
  base: "",
  tensor: "base",
  kernels: "base tensor",
  gguf: "base tensor",
  checkpoint: "base tensor gguf",
  arch: "base tensor checkpoint",
  logical: "base tensor kernels checkpoint arch",
  text: "base checkpoint",
  grammar: "base",
  runtime: "base tensor kernels checkpoint arch logical text",
  yaml: "base",
  recipe: "base tensor arch yaml",
  plan: "base tensor checkpoint arch logical yaml recipe",
  build: "base tensor kernels checkpoint arch logical recipe plan",
  transfer: "base checkpoint recipe plan build eval",
  convert: "base tensor gguf checkpoint arch logical text plan",
  survey: "base tensor gguf kernels checkpoint arch logical charts",
  statistics: "base",
  charts: "base",
  tasks: "base checkpoint yaml text",
  eval: "base checkpoint text runtime tasks statistics",
  study: "base checkpoint arch yaml recipe plan tasks eval statistics charts",
  launch: "base checkpoint plan build eval",
  library: "base checkpoint logical text plan build runtime eval",
  server:
    "base tensor checkpoint arch grammar text recipe plan build survey runtime statistics charts tasks eval study library",
  cli: "transfer server base tensor checkpoint arch logical text grammar recipe plan build survey runtime statistics charts tasks eval study library launch gguf convert",
  browser:
    "base tensor gguf kernels checkpoint arch logical text recipe plan build survey runtime statistics charts tasks eval study library",
  studio: "",
  "studio-static": "browser studio",
};
/** What a layer may import types from, beside that: single files. */
const MAY_IMPORT_TYPES = {
  gguf: ["checkpoint/source.ts"],
  studio: ["server/api.ts"],
  "studio-static": ["server/api.ts"],
};
const IMPORT = /^(?:import|export)\b( type)?[^;"]*?from "([^"]+)"|\bimport\("([^"]+)"\)/gm;
const MAY_USE_FILES = /^checkpoint\/node(-\w+)?\.ts$/;

const src = resolve("src");
let faults = 0;
const fault = (file, what) => {
  console.error(`src/${file}: ${what}`);
  faults++;
};
const files = readdirSync(src, { recursive: true })
  .map((name) => name.replaceAll("\\", "/"))
  .filter((name) => /\.tsx?$/.test(name) && !name.startsWith("kernels/assembly") && name !== "index.ts");
for (const file of files) {
  const layer = file.split("/")[0];
  const allowed = MAY_IMPORT[layer];
  if (allowed === undefined) {
    fault(file, `${layer} is no layer, wanted one of ${Object.keys(MAY_IMPORT).join(", ")}`);
    continue;
  }
  const text = readFileSync(join(src, file), "utf8");
  for (const [, type, named, lazy] of text.matchAll(IMPORT)) {
    const target = named ?? lazy;
    if (/^(node:)?fs(\/|$)/.test(target) && !MAY_USE_FILES.test(file))
      fault(file, "only checkpoint/node*.ts may import node:fs");
    if (!target.startsWith(".")) continue;
    const path = relative(src, resolve(src, dirname(file), target)).replaceAll("\\", "/");
    const other = path.split("/")[0];
    if (type && MAY_IMPORT_TYPES[layer]?.includes(path)) continue;
    if (other !== layer && !allowed.split(" ").includes(other))
      fault(file, `${layer} may not import ${other}`);
  }
  if (layer !== "cli" && /\bconsole\.|process\.std(out|err)\b|process\.exit/.test(text))
    fault(file, "only cli/ prints and exits");
}
console.log(
  faults === 0 ? `layers: ${files.length} files, no import goes upward` : `layers: ${faults} faults`,
);
process.exit(faults ? 1 : 0);
