import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { padded, tarBytes, tarHeader } from "../../src/browser/tar-file.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const hasTar = spawnSync("tar", ["--version"]).status === 0;

test("tarHeader() and tarBytes() make an archive that tar unpacks", { skip: !hasTar && "no tar" }, (t) => {
  const folder = temporaryFolder(t);
  const files = [0, 1, 511, 512, 513, 3000].map((length) => ({
    name: `file of ${length} bytes`,
    content: Uint8Array.from({ length }, (_, i) => i * 3),
  }));
  const archive = new Uint8Array(tarBytes(files.map(({ content }) => content)));
  let at = 0;
  for (const { name, content } of files) {
    archive.set(tarHeader(name, content.length), at);
    archive.set(content, at + 512);
    at += 512 + padded(content.length);
  }
  assert.equal(archive.length, at + 1024);
  writeFileSync(join(folder, "a.tar"), archive);
  const { status, stderr } = spawnSync("tar", ["-xf", "a.tar"], { cwd: folder, encoding: "utf8" });
  assert.equal(`${status} ${stderr}`, "0 ");
  for (const { name, content } of files)
    assert.deepEqual(new Uint8Array(readFileSync(join(folder, name))), content, name);
});

test("tarHeader() refuses names and sizes that the format cannot say", () => {
  assert.equal(tarHeader("é".repeat(50), 8 ** 11 - 1).length, 512);
  assert.throws(
    () => tarHeader("é".repeat(51), 0),
    /^RangeError: Cannot archive "é+": its name has 102 bytes, wanted 1 to 100$/,
  );
  assert.throws(() => tarHeader("", 0), /its name has 0 bytes/);
  assert.throws(() => tarHeader("a", 8 ** 11), /it holds 8589934592 bytes, wanted at most 8589934591$/);
});
