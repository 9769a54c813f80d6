/** What disks and networks do that no folder in a test does: calls of node:fs are replaced for a moment. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import type { OutputStore } from "../../src/checkpoint/source.ts";
import { openOutput, openStore } from "../../src/checkpoint/stores.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** Replaces one call until the test ends; the replacement gets the original. */
function replace<Name extends "linkSync" | "fsyncSync" | "closeSync" | "readSync" | "writeSync">(
  t: TestContext,
  name: Name,
  make: (original: (typeof fs)[Name]) => (...args: never[]) => unknown,
): void {
  const original = fs[name];
  const put = (call: unknown) => {
    Object.assign(fs, { [name]: call });
    syncBuiltinESMExports();
  };
  put(make(original));
  t.after(() => put(original));
}

const systemError = (code: string) => Object.assign(new Error(`${code}: played`), { code });

async function prepared(t: TestContext): Promise<OutputStore> {
  const store = openOutput(join(temporaryFolder(t), "child"));
  await store.prepare();
  return store;
}

const text = async (store: OutputStore, name: string) =>
  new TextDecoder().decode(await store.readSmall(name));

describe("claim()", () => {
  for (const code of ["EPERM", "ENOTSUP", "ENOSYS"]) {
    test(`is exclusive on a file system without links (${code})`, async (t) => {
      const store = await prepared(t);
      replace(t, "linkSync", () => () => {
        throw systemError(code);
      });
      assert.equal(await store.claim("lock", "first"), true);
      assert.equal(await store.claim("lock", "second"), false);
      assert.equal(await text(store, "lock"), "first");
      assert.deepEqual(await store.listUnder(".chimera/"), []);
    });
  }

  test("is given when the answer to it was lost and the second try met the link of the first", async (t) => {
    const store = await prepared(t);
    replace(t, "linkSync", (link) => (from: string, to: string) => {
      link(from, to);
      link(from, to);
    });
    assert.equal(await store.claim("lock", "first"), true);
    assert.equal(await store.claim("lock", "second"), false);
    assert.equal(await text(store, "lock"), "first");
  });

  test("passes other errors on as a BuildError", async (t) => {
    const store = await prepared(t);
    replace(t, "linkSync", () => () => {
      throw systemError("EROFS");
    });
    await assert.rejects(store.claim("lock", "x"), {
      name: "BuildError",
      code: "write-failed",
      message: /EROFS/,
    });
    assert.deepEqual([await store.list(), await store.listUnder(".chimera/")], [[], []]);
  });
});

describe("a sink", () => {
  test("whose flush() meets a full disk throws disk-full and leaves nothing", async (t) => {
    const store = await prepared(t);
    const sink = await store.create("a", 1);
    replace(t, "fsyncSync", () => () => {
      throw systemError("EDQUOT");
    });
    await assert.rejects(sink.flush(), { name: "BuildError", code: "disk-full" });
    await assert.rejects(sink.publish(), /internal: "a" is open, wanted flushed/);
    await sink.discard();
    assert.deepEqual([await store.list(), await store.listUnder(".chimera/")], [[], []]);
  });

  test("whose close fails is closed once: its number may be another file's by then", async (t) => {
    const store = await prepared(t);
    const sink = await store.create("a", 1);
    const closed: number[] = [];
    replace(t, "closeSync", (close) => (fd: number) => {
      closed.push(fd);
      close(fd);
      if (closed.length === 1) throw systemError("EIO");
    });
    await assert.rejects(sink.flush(), { name: "BuildError", code: "write-failed", message: /EIO/ });
    await sink.discard();
    assert.equal(closed.length, 1);
    assert.deepEqual(await store.listUnder(".chimera/"), []);
  });

  test("writes on when a call takes a part only", async (t) => {
    const store = await prepared(t);
    const sink = await store.create("a", 10);
    replace(
      t,
      "writeSync",
      (write) =>
        ((fd: number, bytes: Uint8Array, at: number, length: number, position: number) =>
          write(fd, bytes, at, Math.min(length, 3), position)) as never,
    );
    await sink.write(new TextEncoder().encode("0123456789"), 0);
    await sink.flush();
    await sink.publish();
    assert.equal(await text(store, "a"), "0123456789");
  });
});

describe("a source", () => {
  const opened = async (t: TestContext) => {
    const folder = temporaryFolder(t);
    fs.writeFileSync(join(folder, "a"), "0123456789");
    return openStore(folder).open("a");
  };

  test("reads on when a call gives a part only", async (t) => {
    const source = await opened(t);
    replace(
      t,
      "readSync",
      (read) =>
        ((fd: number, into: Uint8Array, at: number, length: number, position: number) =>
          read(fd, into, at, Math.min(length, 3), position)) as never,
    );
    const bytes = new Uint8Array(8);
    await source.read(bytes, 1);
    assert.equal(new TextDecoder().decode(bytes), "12345678");
    await source.close();
  });

  test("on a disk that fails throws read-failed with the cause", async (t) => {
    const source = await opened(t);
    const cause = systemError("EIO");
    replace(t, "readSync", () => () => {
      throw cause;
    });
    const what = {
      name: "CheckpointError",
      code: "read-failed",
      cause,
      message: /Cannot read ".*\/a": EIO: played/,
    };
    await assert.rejects(source.read(new Uint8Array(1), 0), what);
    await source.close();
  });
});
