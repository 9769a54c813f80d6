/** A folder as one hash: what decides its answers changes it, and nothing else does. */
import assert from "node:assert/strict";
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { folderFingerprint } from "../../src/checkpoint/fingerprint.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const R1 = "models/mini-r1";
const SHARD = "model-00002-of-000002.safetensors";

function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at < 0 ? bytes.length + at : at]! ^= 1;
  writeFileSync(path, bytes);
}

test("folderFingerprint() is that of the content: not of place, time, notes or folders", async (t) => {
  const folder = join(temporaryFolder(t), "elsewhere");
  cpSync(R1, folder, { recursive: true });
  const wanted = await folderFingerprint(R1);
  assert.match(wanted, /^[0-9a-f]{64}$/);
  for (const name of readdirSync(folder)) utimesSync(join(folder, name), 1, 1);
  for (const name of ["README.md", "LICENSE.txt", "chimera.json", "curve.png"])
    writeFileSync(join(folder, name), "x");
  mkdirSync(join(folder, "figures"));
  assert.equal(await folderFingerprint(folder), wanted);
});

test("folderFingerprint() changes with a byte anywhere, with a name and with a file more or less", async (t) => {
  const folder = join(temporaryFolder(t), "copy");
  cpSync(R1, folder, { recursive: true });
  const seen = new Set([await folderFingerprint(folder)]);
  const isNew = async (what: string) => {
    const before = seen.size;
    seen.add(await folderFingerprint(folder));
    assert.equal(seen.size, before + 1, what);
  };
  for (const name of readdirSync(R1)) {
    flipByte(join(folder, name), -2);
    await isNew(name);
  }
  renameSync(join(folder, SHARD), join(folder, "other.safetensors"));
  await isNew("renamed");
  writeFileSync(join(folder, "chat_template.jinja"), "{{ 1 }}");
  await isNew("one more");
  rmSync(join(folder, "generation_config.json"));
  await isNew("one less");
});

test("folderFingerprint() of a large folder: small files whole; of shards header, size and time", async (t) => {
  const folder = join(temporaryFolder(t), "copy");
  cpSync(R1, folder, { recursive: true });
  const path = (name: string) => join(folder, name);
  const dates = () => readdirSync(folder).forEach((name) => void utimesSync(path(name), 1000, 1000));
  const large = { wholeBytes: 1000, headerBytes: 4096 };
  dates();
  const wanted = await folderFingerprint(folder, large);
  assert.notEqual(wanted, await folderFingerprint(folder));

  flipByte(path(SHARD), -1);
  dates();
  assert.equal(await folderFingerprint(folder, large), wanted, "a bit that rots");
  utimesSync(path("config.json"), 2000, 2000);
  assert.equal(await folderFingerprint(folder, large), wanted, "a config's time");

  utimesSync(path(SHARD), 2000, 2000);
  assert.notEqual(await folderFingerprint(folder, large), wanted, "a shard's time");
  dates();
  assert.equal(await folderFingerprint(folder, large), wanted);
  flipByte(path(SHARD), 100);
  dates();
  assert.notEqual(await folderFingerprint(folder, large), wanted, "a shard's header");
  flipByte(path(SHARD), 100);
  flipByte(path("config.json"), -2);
  dates();
  assert.notEqual(await folderFingerprint(folder, large), wanted, "a config's last byte");
  flipByte(path("config.json"), -2);
  writeFileSync(path(SHARD), Buffer.concat([readFileSync(path(SHARD)), Buffer.alloc(8)]));
  dates();
  assert.notEqual(await folderFingerprint(folder, large), wanted, "a shard's size");
});

test("folderFingerprint() refuses what is no folder", async (t) => {
  await assert.rejects(folderFingerprint(join(temporaryFolder(t), "none")), { name: "CheckpointError" });
});
