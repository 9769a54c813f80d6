/** Positions beyond 2^32: sparse files, so that 5 GiB take a few kilobytes of disk. */
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, readSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { encodeHeader, type HeaderEntry } from "../../src/checkpoint/header.ts";
import { openOutput, openStore } from "../../src/checkpoint/stores.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const GIB = 2 ** 30;
const MARK = new TextEncoder().encode("<the end of the last tensor>");
const TENSORS: HeaderEntry[] = [
  { name: "first", dtype: "U8", shape: [16] },
  { name: "large", dtype: "BF16", shape: [5, GIB / 2] }, // 5 GiB
  { name: "last", dtype: "U8", shape: [MARK.length] },
];

test("a shard of 5 GiB is read at positions beyond 2^32", async (t) => {
  const folder = temporaryFolder(t);
  const header = encodeHeader(TENSORS, new Map());
  const lastAt = header.length + 16 + 5 * GIB;
  const fd = openSync(join(folder, "model.safetensors"), "w");
  writeSync(fd, header, 0, header.length, 0);
  writeSync(fd, MARK, 0, 4, header.length);
  writeSync(fd, MARK, 0, MARK.length, lastAt);
  closeSync(fd);

  const store = openStore(folder);
  const { tensors, shards } = await openWholeCheckpoint(store);
  assert.equal(shards[0]!.header!.fileBytes, lastAt + MARK.length);
  assert.deepEqual(
    [...tensors.values()].map(({ offset, byteLength }) => [offset, byteLength]),
    [
      [header.length, 16],
      [header.length + 16, 5 * GIB],
      [lastAt, MARK.length],
    ],
  );
  assert.ok(lastAt > 2 ** 32);
  const source = await store.open("model.safetensors");
  assert.equal(source.byteLength, lastAt + MARK.length);
  const bytes = new Uint8Array(MARK.length);
  await source.read(bytes, lastAt);
  assert.deepEqual(bytes, MARK);
  await source.read(bytes, lastAt - 8);
  assert.deepEqual([...bytes.subarray(0, 8)], Array(8).fill(0));
  assert.deepEqual(bytes.subarray(8), MARK.subarray(0, -8));
  // Were positions cut to 32 bits, this would read where `last` is: lastAt - 2^32.
  await source.read(bytes, lastAt - 2 ** 32);
  assert.deepEqual(bytes, new Uint8Array(MARK.length));
  const beyond = {
    code: "changed",
    message: new RegExp(`ends at byte ${lastAt + MARK.length}, wanted 1 more`),
  };
  await assert.rejects(source.read(new Uint8Array(2), lastAt + MARK.length - 1), beyond);
  await source.checkUnchanged();
  await source.close();
});

test("a shard of 5 GiB cut by one byte is refused", async (t) => {
  const folder = temporaryFolder(t);
  const header = encodeHeader(TENSORS, new Map());
  const fd = openSync(join(folder, "model.safetensors"), "w");
  writeSync(fd, header);
  ftruncateSync(fd, header.length + 16 + 5 * GIB + MARK.length - 1);
  closeSync(fd);
  await assert.rejects(openWholeCheckpoint(openStore(folder)), {
    code: "truncated",
    message:
      /"last" in ".+\/model\.safetensors": its data ends at byte 5,368,709,164, the file holds 5,368,709,163/,
  });
});

test("a sink of 6 GiB takes bytes at positions beyond 2^32", async (t) => {
  const store = openOutput(temporaryFolder(t));
  await store.prepare();
  const sink = await store.create("model.safetensors", 6 * GIB);
  const large = Uint8Array.from({ length: 1 << 20 }, (_, i) => i * 31 + 1); // enough to leave this thread
  await sink.write(large, 4.5 * GIB);
  const positions = [0, 2 ** 31 - 4, 2 ** 32 - 4, 2 ** 32, 5 * GIB, 6 * GIB - MARK.length];
  for (const position of positions) await sink.write(MARK.subarray(0, 4), position);
  await sink.write(MARK, positions.at(-1)!);
  const bytes = new Uint8Array(4);
  await sink.read(bytes, 5 * GIB);
  assert.deepEqual(bytes, MARK.subarray(0, 4));
  await sink.read(bytes, 5 * GIB - 4);
  assert.deepEqual([...bytes], [0, 0, 0, 0]);
  await sink.flush();
  await sink.publish();

  const path = join(store.location, "model.safetensors");
  const { size, blocks } = statSync(path);
  assert.equal(size, 6 * GIB);
  assert.ok(blocks * 512 < 2 ** 24, `the file takes ${blocks * 512} bytes, wanted a sparse one`);
  const fd = openSync(path, "r");
  for (const position of positions) {
    readSync(fd, bytes, 0, 4, position);
    assert.deepEqual(bytes, MARK.subarray(0, 4), String(position));
  }
  closeSync(fd);
  const source = await store.open("model.safetensors");
  const read = new Uint8Array((1 << 20) + 8);
  await source.read(read, 4.5 * GIB - 4);
  await source.close();
  assert.equal(Buffer.compare(read.subarray(4, -4), large), 0);
  assert.deepEqual([...read.subarray(0, 4), ...read.subarray(-4)], Array(8).fill(0));
});
