// Compiles the AssemblyScript kernels and embeds them: src/kernels/assembly -> src/kernels/wasm-binary.ts,
// src/kernels/assembly-inference -> src/kernels/inference-binary.ts, src/kernels/assembly-relaxed ->
// src/kernels/relaxed-binary.ts.
//
// A module travels as base64 text inside a source file, so that the same import works in a worker
// thread, in a bundle and in a browser, and the kernels layer needs no file access. The same source gives
// the same bytes: kernels.sha256 beside the source says which, and a test holds the build to it.
//
// Usage: node scripts/build-kernels.mjs [--update] [--quiet] [name …]
//   --update accepts the new digests; names: merge, inference, relaxed (none named: all)
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import asc from "assemblyscript/asc";
import { MODULES } from "./kernel-modules.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const OPTIONS = [
  ...["-O3", "--noAssert", "--converge", "--runtime", "stub", "--use", "abort="],
  ...["--importMemory", "--initialMemory", "1", "--maximumMemory", "65536"],
];

export function digestFile(name) {
  return join(root, MODULES[name].folder, "kernels.sha256");
}

/** Compiles from source; returns the module's bytes. */
export async function compileKernels(name) {
  let binary;
  const { folder, features } = MODULES[name];
  const options = [...OPTIONS, "--enable", features.join(",")];
  const { error, stderr } = await asc.main([`${folder}/index.ts`, "-o", "k.wasm", ...options], {
    readFile: (name, base) => {
      try {
        return readFileSync(join(base ?? root, name), "utf8");
      } catch {
        return null; // asc asks for candidates until one exists
      }
    },
    writeFile: (_name, contents) => {
      binary = contents;
    },
    baseDir: root,
  });
  if (error) throw new Error(`Cannot compile the kernels of ${name}: ${error.message}\n${stderr}`);
  return Buffer.from(binary);
}

export function writeModule(name, bytes) {
  const { folder, binary } = MODULES[name];
  const text = bytes.toString("base64").replace(/.{1,100}/g, '  "$&" +\n');
  const source =
    `// Made by scripts/build-kernels.mjs from ${folder}. Not kept in git; do not edit.\n` +
    `export const WASM_BASE64: string =\n${text}  "";\n`;
  writeFileSync(join(root, binary), source);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const named = process.argv.slice(2).filter((word) => !word.startsWith("--"));
  for (const name of named.length > 0 ? named : Object.keys(MODULES)) {
    const binary = await compileKernels(name);
    const digest = createHash("sha256").update(binary).digest("hex");
    if (process.argv.includes("--update")) writeFileSync(digestFile(name), `${digest}\n`);
    writeModule(name, binary); // last: it must not be older than the folder of its sources
    if (!process.argv.includes("--quiet"))
      console.log(`kernels of ${name}: ${binary.length} bytes, sha256 ${digest}`);
  }
}
