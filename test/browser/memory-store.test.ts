import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryStore } from "../../src/browser/memory-store.ts";
import { outputStoreSuite } from "../checkpoint/output-store.case.ts";

outputStoreSuite("a page's MemoryStore", () => new MemoryStore("/children/a"));

test("MemoryStore.files are the published ones, for another thread to read", async () => {
  const store = new MemoryStore("/children/a");
  await store.prepare();
  await store.writeSmall("config.json", new TextEncoder().encode("{}"));
  const sink = await store.create("model.safetensors", 3);
  assert.deepEqual([...store.files.keys()], ["config.json"]);
  await sink.write(Uint8Array.of(1, 2, 3), 0);
  await sink.flush();
  await sink.publish();
  const other = new MemoryStore("/children/a", { files: store.files });
  const source = await other.open("model.safetensors");
  const bytes = new Uint8Array(2);
  await source.read(bytes, 1);
  assert.deepEqual([...bytes], [2, 3]);
  assert.ok([...store.files.values()].every((buffer) => buffer instanceof SharedArrayBuffer));
  const read = await other.readSmall("config.json");
  assert.ok(read!.buffer instanceof ArrayBuffer); // TextDecoder refuses shared memory in a browser
});
