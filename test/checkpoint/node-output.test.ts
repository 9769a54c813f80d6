import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { OutputStore } from "../../src/checkpoint/source.ts";
import { openOutput } from "../../src/checkpoint/stores.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { outputStoreSuite } from "./output-store.case.ts";

outputStoreSuite("a folder", (t) => openOutput(join(temporaryFolder(t), "child")));
outputStoreSuite("MemoryStore", () => new MemoryStore());

const bytes = (text: string) => new TextEncoder().encode(text);

async function prepared(t: TestContext): Promise<OutputStore> {
  const store = openOutput(join(temporaryFolder(t), "child"));
  await store.prepare();
  return store;
}

describe("a folder", () => {
  const OUTSIDE = [
    "",
    ".",
    "..",
    "../x",
    "/x",
    "a/../../x",
    "a//b",
    "./x",
    "a\\..\\..\\x",
    "\\x",
    "x\0",
    ".chimera/../../x",
  ];

  test("lets no name lead out of it", async (t) => {
    const store = await prepared(t);
    const refused = { name: "CheckpointError", code: "outside-folder" };
    for (const name of OUTSIDE) {
      await assert.rejects(store.open(name), refused, name);
      await assert.rejects(store.readSmall(name), refused, name);
      await assert.rejects(store.create(name, 1), refused, name);
      await assert.rejects(store.writeSmall(name, bytes("x")), refused, name);
      await assert.rejects(store.claim(name, "x"), refused, name);
      await assert.rejects(store.remove(name), refused, name);
    }
    assert.deepEqual(readdirSync(join(store.location, "..")), ["child"]);
    assert.deepEqual(readdirSync(join(store.location, ".chimera")), []);
  });

  test("replaces a link of a final name, not the file it leads to", async (t) => {
    const store = await prepared(t);
    const other = join(store.location, "..", "other");
    writeFileSync(other, "untouched");
    symlinkSync(other, join(store.location, "a"));
    await store.writeSmall("a", bytes("new"));
    assert.deepEqual(
      [readFileSync(other, "utf8"), readFileSync(join(store.location, "a"), "utf8")],
      ["untouched", "new"],
    );
  });

  test("removeState() removes a link, not the folder it leads to", async (t) => {
    const folder = temporaryFolder(t);
    mkdirSync(join(folder, "other"));
    mkdirSync(join(folder, "child"));
    writeFileSync(join(folder, "other", "x"), "");
    symlinkSync("../other", join(folder, "child", ".chimera"));
    await openOutput(join(folder, "child")).removeState();
    assert.deepEqual([readdirSync(join(folder, "child")), readdirSync(join(folder, "other"))], [[], ["x"]]);
  });

  test("writeSmall() keeps the old content when it fails, and no temporary file", async (t) => {
    const store = await prepared(t);
    mkdirSync(join(store.location, "a"));
    writeFileSync(join(store.location, "a", "old"), "");
    await assert.rejects(store.writeSmall("a", bytes("new")), {
      name: "BuildError",
      code: "write-failed",
      message: /child\/a": E/,
    });
    assert.deepEqual(readdirSync(join(store.location, "a")), ["old"]);
    assert.deepEqual(await store.listUnder(".chimera/"), []);
  });

  test("publish(), remove() and claim() of what is a folder are BuildErrors", async (t) => {
    const store = await prepared(t);
    mkdirSync(join(store.location, "a"));
    const sink = await store.create("a", 1);
    await sink.flush();
    const refused = { name: "BuildError", code: "write-failed", message: /Cannot write ".*child\/a": E/ };
    await assert.rejects(sink.publish(), refused);
    await sink.discard();
    assert.deepEqual(await store.listUnder(".chimera/"), []);
    await assert.rejects(store.remove("a"), { name: "BuildError", code: "write-failed" });
    assert.equal(await store.claim("a", "x"), false);
  });

  test("create() leaves nothing when the length is refused", async (t) => {
    const store = await prepared(t);
    for (const byteLength of [2 ** 63, 2 ** 62, -1, Number.NaN, 1.5]) {
      const sink = await store.create("a", byteLength).catch((error: Error) => error);
      if (!(sink instanceof Error))
        await sink.discard(); // a file system without a limit
      else assert.equal(sink.name, "BuildError");
    }
    assert.deepEqual(await store.listUnder(".chimera/"), []);
  });

  test("flush() waits for writes that are under way", async (t) => {
    const store = await prepared(t);
    const large = new Uint8Array(32 << 20).fill(7);
    const sink = await store.create("a", 2 * large.length);
    const writes = [sink.write(large, 0), sink.write(large, large.length)];
    await sink.flush();
    await sink.publish();
    assert.ok(readFileSync(join(store.location, "a")).every((byte) => byte === 7));
    await Promise.all(writes);
  });

  test("discard() waits for writes that are under way, and lets none begin", async (t) => {
    const store = await prepared(t);
    const large = new Uint8Array(32 << 20);
    const sink = await store.create("a", large.length);
    let written = false;
    const writing = sink.write(large, 0).then(() => {
      written = true;
    });
    const discarding = sink.discard();
    await assert.rejects(sink.write(large, 0), /internal: "a" is discarded, wanted open/);
    await discarding;
    await writing;
    assert.deepEqual([written, await store.listUnder(".chimera/")], [true, []]);
  });

  test("prepare() where a file stands is a BuildError, and list() a CheckpointError", async (t) => {
    const path = join(temporaryFolder(t), "file");
    writeFileSync(path, "");
    await assert.rejects(openOutput(path).prepare(), { name: "BuildError", code: "not-writable" });
    await assert.rejects(openOutput(path).list(), { name: "CheckpointError", code: "not-a-folder" });
    await assert.rejects(openOutput(join(path, "x")).prepare(), { name: "BuildError", code: "not-writable" });
  });

  test("freeBytes() is what the file system says, also before the folder is made", async (t) => {
    const folder = temporaryFolder(t);
    const { bavail, bsize } = statfsSync(folder);
    const free = await openOutput(join(folder, "not", "yet", "made")).freeBytes();
    assert.ok(free !== undefined && Number.isSafeInteger(free) && free > 0);
    assert.ok(Math.abs(free - bavail * bsize) < 2 ** 34, `${free} and ${bavail * bsize}`);
    assert.equal(existsSync(join(folder, "not")), false);
  });

  test("claim() is exclusive among processes", async (t) => {
    const store = await prepared(t);
    const module = new URL("../../src/checkpoint/stores.js", import.meta.url).href;
    const script = `
      const { openOutput } = await import(${JSON.stringify(module)});
      const store = openOutput(${JSON.stringify(store.location)});
      let won = 0;
      for (let i = 0; i < 100; i++) if (await store.claim(".chimera/lock-" + i, String(process.pid))) won++;
      console.log(won);
    `;
    const command = `for i in 1 2 3 4; do "${process.execPath}" --input-type=module -e "$SCRIPT" & done; wait`;
    const output = execFileSync("sh", ["-c", command], {
      env: { ...process.env, SCRIPT: script },
      encoding: "utf8",
    });
    const won = output.trim().split("\n").map(Number);
    assert.equal(won.length, 4);
    assert.equal(
      won.reduce((sum, count) => sum + count),
      100,
      output,
    );
    const locks = await store.listUnder(".chimera/");
    assert.equal(locks.length, 100);
    assert.ok(locks.every(({ byteLength }) => byteLength > 0));
  });
});
