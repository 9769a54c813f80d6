/** Every hostile header gives a CheckpointError that tells what and where, quickly and in little memory. */
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { readHeader } from "../../src/checkpoint/header.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { rawShard } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { HOSTILE_HEADERS } from "./hostile-headers.ts";

async function refusal(bytes: Uint8Array, name = "model.safetensors"): Promise<CheckpointError> {
  const source = await new MemoryStore({ [name]: bytes }).open(name);
  try {
    await readHeader(source);
  } catch (error) {
    assert.ok(error instanceof CheckpointError, String(error));
    return error;
  }
  return assert.fail("it was accepted");
}

function isPrintable(text: string): boolean {
  return !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(text);
}

describe("readHeader() refuses", () => {
  for (const { what, file, code, says, note } of HOSTILE_HEADERS) {
    test(what, async () => {
      const error = await refusal(file);
      assert.equal(error.code, code, error.message);
      assert.match(error.message, says);
      assert.ok(error.message.includes('"model.safetensors"'), error.message);
      assert.match(error.note ?? "", note ?? /^/);
      assert.ok(isPrintable(error.message + (error.note ?? "")), error.message);
      assert.ok(error.message.length < 1000, `the message has ${error.message.length} characters`);
    });
  }

  test("a file whose name holds escape sequences, without repeating them", async () => {
    const name = `\u001b[2J${"x".repeat(300)}.safetensors`;
    for (const { file } of HOSTILE_HEADERS) {
      const { message } = await refusal(file, name);
      assert.ok(isPrintable(message), message);
      assert.match(message, /"\\u001b\[2Jx{196}…"/);
    }
  });
});

test("readHeader() refuses all of them in less than 8 MB and 1 s", async () => {
  const sizes = HOSTILE_HEADERS.map(({ file }) => file.length);
  assert.ok(Math.max(...sizes) < 1_000_000);
  for (const { file } of HOSTILE_HEADERS) await refusal(file); // warm
  const used = () => process.memoryUsage().heapUsed + process.memoryUsage().arrayBuffers;
  const began = performance.now();
  let most = 0;
  let slowest = 0;
  for (const { file } of HOSTILE_HEADERS) {
    const [before, from] = [used(), performance.now()];
    await refusal(file);
    most = Math.max(most, used() - before);
    slowest = Math.max(slowest, performance.now() - from);
  }
  const elapsed = performance.now() - began;
  assert.ok(most < 8_000_000, `one took ${most} bytes`);
  assert.ok(elapsed < 1000, `together ${elapsed} ms, the slowest ${slowest} ms`);
});

test("readHeader() refuses a header above 100 MB in a file that holds it, unread", async (t) => {
  const folder = temporaryFolder(t);
  const fd = openSync(join(folder, "model.safetensors"), "w");
  writeSync(fd, rawShard("{", 0, 100_000_001n));
  ftruncateSync(fd, 200_000_000);
  closeSync(fd);
  const source = await openStore(folder).open("model.safetensors");
  const before = process.memoryUsage().arrayBuffers;
  await assert.rejects(readHeader(source), { code: "header-too-large" });
  assert.ok(process.memoryUsage().arrayBuffers - before < 1_000_000);
  await source.close();
});
