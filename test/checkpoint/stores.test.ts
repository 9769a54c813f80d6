import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { openLocation, openOutput, openStore } from "../../src/checkpoint/stores.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("openStore() makes a location whole, so that a worker elsewhere opens the same", () => {
  const store = openStore("models/mini-v3");
  assert.equal(store.location, resolve("models/mini-v3"));
  assert.equal(store.label, "mini-v3");
  assert.equal(openStore(store.location).location, store.location);
});

test("openStore(), openOutput() and openLocation() refuse addresses and the empty text", () => {
  const code = "unknown-scheme";
  for (const location of ["file:///x", "gs:x", "memory:x"]) {
    const message = /".*:" is not known, wanted a folder/;
    for (const open of [openStore, openLocation])
      assert.throws(() => open(location), { name: "CheckpointError", code, message });
  }
  // A wrong use, where the others are an input that is not there.
  for (const location of ["hf://a/b", "https://x", "file:///x", "gs:x"]) {
    const message = /".*:" cannot be written, wanted a folder or s3:/;
    assert.throws(() => openOutput(location), { name: "BuildError", code, message });
  }
  for (const location of ["s3:", "s3://", "s3://a", "s3:a/b", "s3://b/../c", "s3://b/c?d", "s3://b/c//d"]) {
    for (const open of [openStore, openOutput])
      assert.throws(() => open(location), {
        name: "CheckpointError",
        code: "bad-url",
        message: /wanted s3:/,
      });
  }
  for (const open of [openStore, openOutput, openLocation])
    assert.throws(() => open(""), { code: "missing" });
});

test("openStore() takes a drive and a folder with a colon further on", () => {
  for (const location of ["C:\\models", "c:", "./a:b", "/a:b", "a b:c"]) {
    assert.equal(openStore(location).location, resolve(location));
  }
});

test("openLocation() takes a file for that file of its folder", (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, "x.safetensors"), "");
  const { store, options } = openLocation(join(folder, "x.safetensors"));
  assert.deepEqual([store.location, options], [folder, { only: "x.safetensors" }]);
  assert.deepEqual(openLocation(folder).options, {});
});
