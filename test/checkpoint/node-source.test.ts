import assert from "node:assert/strict";
import {
  appendFileSync,
  copyFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import type { Source } from "../../src/checkpoint/source.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const CONTENT = "0123456789";

/** An open source on a file of ten digits that is a minute old. */
async function opened(
  ends: Parameters<typeof temporaryFolder>[0],
): Promise<{ source: Source; path: string }> {
  const folder = temporaryFolder(ends);
  const path = join(folder, "x.safetensors");
  writeFileSync(path, CONTENT);
  const time = new Date("2025-04-24T12:00:00Z");
  utimesSync(path, time, time);
  return { source: await openStore(folder).open("x.safetensors"), path };
}

const CHANGES: [what: string, change: (path: string) => void, says: RegExp][] = [
  ["more bytes", (path) => appendFileSync(path, "x"), /were 10:\d+ and are 11:\d+, wanted no change/],
  ["fewer bytes", (path) => truncateSync(path, 5), /were 10:\d+ and are 5:\d+/],
  ["other bytes", (path) => writeFileSync(path, "9876543210"), /were 10:\d+ and are 10:\d+/],
  ["another time", (path) => utimesSync(path, 1, 1), /were 10:\d+ and are 10:1000000000/],
  ["deletion", (path) => rmSync(path), /were 10:\d+ and are gone/],
  [
    "another file of its size and time",
    (path) => {
      const { atime, mtime } = statSync(path);
      copyFileSync(path, `${path}.new`);
      utimesSync(`${path}.new`, atime, mtime);
      renameSync(`${path}.new`, path);
    },
    /another file has taken its name, wanted no change/,
  ],
];

describe("Source.checkUnchanged()", () => {
  test("takes a file that is as it was", async (t) => {
    const { source } = await opened(t);
    await source.checkUnchanged();
    await source.close();
  });

  for (const [what, change, says] of CHANGES) {
    test(`notices ${what}`, async (t) => {
      const { source, path } = await opened(t);
      change(path);
      await assert.rejects(source.checkUnchanged(), (error: Error & { code: string; note: string }) => {
        assert.deepEqual([error.name, error.code], ["CheckpointError", "changed"]);
        assert.match(error.message, says);
        assert.ok(error.message.includes(path));
        return error.note.includes("must not change");
      });
      await source.close();
    });
  }
});

describe("Source.read()", () => {
  test("fills a part of a buffer from a position, and nothing beside it", async (t) => {
    const { source } = await opened(t);
    const buffer = new Uint8Array(8).fill(0x2e);
    await source.read(buffer.subarray(2, 6), 3);
    assert.equal(new TextDecoder().decode(buffer), "..3456..");
    await source.close();
  });

  test("refuses a file that was cut while it is read: both positions are told", async (t) => {
    const { source, path } = await opened(t);
    truncateSync(path, 6);
    const what = { name: "CheckpointError", code: "changed", message: /it ends at byte 6, wanted 4 more/ };
    await assert.rejects(source.read(new Uint8Array(10), 0), what);
    await source.close();
  });

  test("refuses a position beyond the end", async (t) => {
    const { source } = await opened(t);
    const what = { code: "changed", message: /it ends at byte 1099511627776, wanted 1 more/ };
    await assert.rejects(source.read(new Uint8Array(1), 2 ** 40), what);
    await source.close();
  });

  test("goes on reading a file that was deleted, until it is asked", async (t) => {
    const { source, path } = await opened(t);
    rmSync(path);
    const bytes = new Uint8Array(10);
    await source.read(bytes, 0);
    assert.equal(new TextDecoder().decode(bytes), CONTENT);
    await assert.rejects(source.checkUnchanged(), { code: "changed" });
    await source.close();
  });
});

test("Source.close() waits for reads that are under way", async (t) => {
  const folder = temporaryFolder(t);
  const content = Uint8Array.from({ length: 16 << 20 }, (_, i) => i * 31);
  writeFileSync(join(folder, "a"), content);
  const source = await openStore(folder).open("a");
  const bytes = new Uint8Array(content.length);
  const reading = source.read(bytes, 0);
  const closing = source.close();
  await assert.rejects(source.read(bytes, 0), /internal: "a" was read after it was closed/);
  await closing;
  assert.deepEqual(Buffer.compare(bytes, content), 0);
  await reading;
});

test("Source.read() of a large piece refuses a file that was cut", async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "a"), new Uint8Array(1 << 20));
  const source = await openStore(folder).open("a");
  truncateSync(join(folder, "a"), 1_000_000);
  const what = { code: "changed", message: /it ends at byte 1000000, wanted 48576 more/ };
  await assert.rejects(source.read(new Uint8Array(1 << 20), 0), what);
  await source.close();
});

test("Source.identity is size and time of change, the same for a copy that keeps both", async (t) => {
  const { source, path } = await opened(t);
  assert.equal(source.identity, `10:${BigInt(statSync(path).mtimeMs) * 1_000_000n}`);
  await source.close();
});

test("readSmall() refuses what grows above the limit while it is read, and reads what has no size", async () => {
  const proc = openStore("/proc/self");
  const text = await proc.readSmall("status"); // its size is 0
  if (text === undefined) return; // not Linux
  assert.match(new TextDecoder().decode(text), /^Name:/);
  await assert.rejects(proc.readSmall("status", 10), {
    name: "CheckpointError",
    code: "too-large",
    message: /holds more/,
  });
});
