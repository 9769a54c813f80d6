/** A disk that is full, played by a tmpfs of 1 MB. Needs a root that may mount; skipped otherwise. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { OutputStore } from "../../src/checkpoint/source.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";

const FULL = { name: "BuildError", code: "disk-full", message: /Cannot write ".*": the disk is full/ };

/** A store on a disk of 1 MB, or undefined where none can be mounted. */
async function smallDisk(t: TestContext): Promise<OutputStore | undefined> {
  const folder = mkdtempSync(join(tmpdir(), "chimera-test-"));
  const mount = spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]);
  t.after(() => {
    // Open files must not keep the mount alive: it goes from the tree at once, and for good with the last.
    if (mount.status === 0) spawnSync("umount", ["--lazy", folder]);
    rmdirSync(folder);
  });
  if (mount.status !== 0) {
    t.skip("cannot mount a tmpfs here, so a full disk cannot be played");
    return undefined;
  }
  const store = openOutput(join(folder, "child"));
  await store.prepare();
  return store;
}

function filesOf(store: OutputStore): string[] {
  return readdirSync(store.location, { recursive: true }).map(String);
}

test("a sink on a full disk throws BuildError disk-full and leaves nothing after discard()", async (t) => {
  const store = await smallDisk(t);
  if (!store) return;
  const before = await store.freeBytes();
  assert.ok(before !== undefined && before > 900_000 && before <= 1 << 20, `${before}`);
  const sink = await store.create("a.safetensors", 4 << 20);
  const piece = new Uint8Array(1 << 18).fill(1);
  const fill = async () => {
    for (let offset = 0; offset < 4 << 20; offset += piece.length) await sink.write(piece, offset);
  };
  await assert.rejects(fill(), (error: Error & { note: string; cause: { code: string } }) => {
    assert.deepEqual([error.name, error.cause.code], ["BuildError", "ENOSPC"]);
    assert.match(error.message, FULL.message);
    return error.note.includes("free some space");
  });
  assert.ok((await store.freeBytes())! < 1 << 18);
  await sink.discard();
  assert.deepEqual(filesOf(store), [".chimera"]);
  assert.equal(await store.freeBytes(), before);
});

test("writeSmall() on a full disk keeps the old content and leaves no temporary file", async (t) => {
  const store = await smallDisk(t);
  if (!store) return;
  await store.writeSmall("a.json", new TextEncoder().encode("old"));
  await assert.rejects(store.writeSmall("a.json", new Uint8Array(2 << 20)), FULL);
  assert.equal(new TextDecoder().decode(await store.readSmall("a.json")), "old");
  assert.deepEqual(filesOf(store).sort(), [".chimera", "a.json"]);
});

test("claim() on a full disk throws and claims nothing", async (t) => {
  const store = await smallDisk(t);
  if (!store) return;
  const sink = await store.create("a", 0);
  const piece = new Uint8Array(4096).fill(1);
  const fill = async () => {
    for (let offset = 0; ; offset += piece.length) await sink.write(piece, offset);
  };
  await assert.rejects(fill(), FULL);
  await assert.rejects(store.claim(".chimera/lock", "x".repeat(10_000)), FULL);
  await sink.discard();
  assert.deepEqual(filesOf(store), [".chimera"]);
  assert.equal(await store.claim(".chimera/lock", "x"), true);
});
