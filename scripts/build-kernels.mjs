// Compiles the AssemblyScript kernels and embeds them: src/kernels/assembly -> src/kernels/wasm-binary.ts.
//
// The module travels as base64 text inside a source file, so that the same import works in a worker
// thread, in a bundle and in a browser, and the kernels layer needs no file access. The same source gives
// the same bytes: kernels.sha256 beside the source says which, and a test holds the build to it.
//
// Usage: node scripts/build-kernels.mjs [--update]     --update accepts the new digest
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import asc from "assemblyscript/asc";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const OPTIONS = [
  ...["-O3", "--noAssert", "--converge", "--runtime", "stub", "--use", "abort="],
  ...["--enable", "simd", "--importMemory", "--initialMemory", "1", "--maximumMemory", "65536"],
];

export const digestFile = join(root, "src/kernels/assembly/kernels.sha256");

/** Compiles from source; returns the module's bytes. */
export async function compileKernels() {
  let binary;
  const { error, stderr } = await asc.main(["src/kernels/assembly/index.ts", "-o", "k.wasm", ...OPTIONS], {
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
  if (error) throw new Error(`Cannot compile the kernels: ${error.message}\n${stderr}`);
  return Buffer.from(binary);
}

export function writeModule(binary) {
  const text = binary.toString("base64").replace(/.{1,100}/g, '  "$&" +\n');
  const source =
    "// Made by scripts/build-kernels.mjs from src/kernels/assembly. Not kept in git; do not edit.\n" +
    `export const WASM_BASE64: string =\n${text}  "";\n`;
  writeFileSync(join(root, "src/kernels/wasm-binary.ts"), source);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const binary = await compileKernels();
  const digest = createHash("sha256").update(binary).digest("hex");
  writeModule(binary);
  if (process.argv.includes("--update")) writeFileSync(digestFile, `${digest}\n`);
  console.log(`kernels: ${binary.length} bytes, sha256 ${digest}`);
}
