import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  asSingleFile,
  fileNames,
  folderExists,
  processStart,
  readRegularFile,
  readTextFile,
  realLocation,
  writeFileAtomically,
} from "../../src/checkpoint/node.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("readTextFile() reads text, and refuses what is too large, missing or a folder", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "x.yaml");
  writeFileSync(path, "é: 1\n");
  assert.equal(await readTextFile(path, 100), "é: 1\n");
  assert.equal(await readTextFile(path, 6), "é: 1\n");
  await assert.rejects(readTextFile(path, 5), {
    name: "CheckpointError",
    code: "too-large",
    message: /x\.yaml": it holds 6 bytes, wanted at most 5 bytes/,
  });
  await assert.rejects(readTextFile(join(folder, "y"), 5), { name: "CheckpointError", code: "missing" });
  await assert.rejects(readTextFile(folder, 5), { name: "CheckpointError", code: "not-a-file" });
  await assert.rejects(readTextFile(`${path}\0`, 5), { name: "CheckpointError", code: "read-failed" });
  await assert.rejects(readTextFile("/dev/zero", 1000), { name: "CheckpointError", code: "too-large" });
});

test("readRegularFile() reads bytes, and waits for nothing that is no file", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "x.jsonl");
  writeFileSync(path, Uint8Array.of(0xff, 0));
  execFileSync("mkfifo", [join(folder, "pipe")]);
  assert.deepEqual([...(await readRegularFile(path, 2))], [0xff, 0]);
  await assert.rejects(readRegularFile(path, 1), { name: "CheckpointError", code: "too-large" });
  await assert.rejects(readRegularFile(join(folder, "y"), 5), { name: "CheckpointError", code: "missing" });
  await assert.rejects(readRegularFile(folder, 5), { name: "CheckpointError", code: "not-a-file" });
  await assert.rejects(readRegularFile(join(folder, "pipe"), 5), {
    name: "CheckpointError",
    code: "not-a-file",
  });
  await assert.rejects(readRegularFile("/dev/zero", 5), { name: "CheckpointError", code: "not-a-file" });
});

test("fileNames() lists the files of a folder in order, folders and pipes not", async (t) => {
  const folder = temporaryFolder(t);
  for (const name of ["b", "a"]) writeFileSync(join(folder, name), "");
  mkdirSync(join(folder, "c"));
  assert.deepEqual(fileNames(folder), ["a", "b"]);
  assert.throws(() => fileNames(join(folder, "a")), { name: "CheckpointError", code: "not-a-folder" });
});

test("readTextFile() reads a pipe to its end", { timeout: 10_000 }, async (t) => {
  const path = join(temporaryFolder(t), "pipe");
  execFileSync("mkfifo", [path]);
  const writer = spawn("sh", ["-c", 'for i in 1 2 3; do echo "line $i"; sleep 0.02; done > "$0"', path]);
  assert.equal(await readTextFile(path, 100), "line 1\nline 2\nline 3\n");
  await new Promise((done) => writer.on("close", done));
});

test("writeFileAtomically() writes to a pipe as it is, and puts no file in its place", async (t) => {
  const folder = temporaryFolder(t);
  const path = join(folder, "pipe");
  execFileSync("mkfifo", [path]);
  const reader = spawn("sh", ["-c", 'cat "$0" > "$0.read"', path]);
  const ended = new Promise((done) => reader.on("close", done));
  await writeFileAtomically(path, [Uint8Array.of(97), Uint8Array.of(98)]);
  await ended;
  assert.equal(readFileSync(`${path}.read`, "utf8"), "ab");
  assert.ok(lstatSync(path).isFIFO());
  assert.deepEqual(readdirSync(folder).sort(), ["pipe", "pipe.read"]);
});

test("asSingleFile() and folderExists() take whatever stands there, or does not", (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "x"), "");
  symlinkSync("loop", join(folder, "loop"));
  symlinkSync("x", join(folder, "link"));
  const found = (name: string) => [asSingleFile(join(folder, name)), folderExists(join(folder, name))];
  assert.deepEqual(found("x"), [{ folder, name: "x" }, false]);
  assert.deepEqual(found("link"), [{ folder, name: "link" }, false]);
  assert.deepEqual(found(""), [undefined, true]);
  for (const name of ["y", "x/y", "loop", "x\0", "z".repeat(5000)])
    assert.deepEqual(found(name), [undefined, false]);
});

test("realLocation() resolves links as far as the path exists", (t) => {
  const folder = realpathSync(temporaryFolder(t));
  mkdirSync(join(folder, "a"));
  symlinkSync("a", join(folder, "link"));
  symlinkSync("loop", join(folder, "loop"));
  assert.equal(realLocation(join(folder, "link", "b", "c")), join(folder, "a", "b", "c"));
  assert.equal(realLocation(join(folder, "link", "..", "b")), join(folder, "b"));
  assert.equal(realLocation(join(folder, "loop", "b")), join(folder, "loop", "b"));
});

test("processStart() tells this process from others, and nothing of one that is not there", () => {
  const start = processStart(process.pid);
  assert.equal(processStart(process.pid), start);
  assert.equal(processStart(2 ** 30), "");
  if (process.platform !== "linux") return;
  assert.match(start, /^[0-9a-f-]{36}\/\d+$/);
  assert.notEqual(processStart(1), start);
});
