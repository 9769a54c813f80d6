/** What every OutputStore must do, for the folder on disk and for the one in memory. */
import assert from "node:assert/strict";
import { describe, type TestContext, test } from "node:test";
import type { OutputStore, Sink } from "../../src/checkpoint/source.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

async function textOf(store: OutputStore, name: string): Promise<string | undefined> {
  const bytes = await store.readSmall(name);
  return bytes && new TextDecoder().decode(bytes);
}

async function names(store: OutputStore): Promise<string[]> {
  return (await store.list()).map(({ name }) => name);
}

async function publish(store: OutputStore, name: string, text: string): Promise<void> {
  const sink = await store.create(name, text.length);
  await sink.write(bytesOf(text), 0);
  await sink.flush();
  await sink.publish();
}

/** `isVersioned`: a read is of the version that was opened or fails, so that an older one is not read on. */
export function outputStoreSuite(
  name: string,
  make: (t: TestContext) => OutputStore,
  { isVersioned = false }: { isVersioned?: boolean } = {},
): void {
  const prepared = async (t: TestContext) => {
    const store = make(t);
    await store.prepare();
    return store;
  };

  describe(`a sink of ${name}`, () => {
    test("shows its file under the final name only when published, whole", async (t) => {
      const store = await prepared(t);
      const sink = await store.create("a.safetensors", 6);
      assert.deepEqual(await names(store), []);
      await sink.write(bytesOf("def"), 3);
      await sink.write(bytesOf("abc"), 0);
      assert.deepEqual(await names(store), []);
      const read = new Uint8Array(4);
      await sink.read(read, 1);
      assert.equal(new TextDecoder().decode(read), "bcde");
      await sink.flush();
      assert.deepEqual(await names(store), []);
      assert.equal(await textOf(store, "a.safetensors"), undefined);
      await sink.publish();
      assert.deepEqual(await store.list(), [{ name: "a.safetensors", byteLength: 6 }]);
      assert.equal(await textOf(store, "a.safetensors"), "abcdef");
      assert.deepEqual(await store.listUnder(".chimera/"), []);
    });

    test("has its full length from the start, zeros where nothing was written", async (t) => {
      const store = await prepared(t);
      const sink = await store.create("a", 4);
      await sink.write(bytesOf("x"), 2);
      await sink.flush();
      await sink.publish();
      assert.equal(await textOf(store, "a"), "\0\0x\0");
    });

    test("leaves nothing when discarded, before and after flush(), once or twice", async (t) => {
      const store = await prepared(t);
      for (const flushes of [false, true]) {
        const sink = await store.create("a", 3);
        await sink.write(bytesOf("abc"), 0);
        assert.equal((await store.listUnder(".chimera/")).length, 1);
        if (flushes) await sink.flush();
        await sink.discard();
        await sink.discard();
        assert.deepEqual([await names(store), await store.listUnder(".chimera/")], [[], []]);
      }
    });

    test("keeps a published file when discarded", async (t) => {
      const store = await prepared(t);
      const sink = await store.create("a", 0);
      await sink.flush();
      await sink.publish();
      await sink.discard();
      assert.deepEqual(await names(store), ["a"]);
    });

    test("does not collide with another of the same name; the last published stays", async (t) => {
      const store = await prepared(t);
      const sinks: Sink[] = [];
      for (const text of ["abc", "xyz"]) {
        const sink = await store.create("a.safetensors", 3);
        await sink.write(bytesOf(text), 0);
        sinks.push(sink);
      }
      const temporary = (await store.listUnder(".chimera/")).map(({ name }) => name);
      assert.equal(new Set(temporary).size, 2);
      for (const name of temporary) assert.match(name, /^\.chimera\/a\.safetensors\.[^/]+\.tmp$/);
      for (const [i, sink] of sinks.entries()) {
        await sink.flush();
        await sink.publish();
        assert.equal(await textOf(store, "a.safetensors"), ["abc", "xyz"][i]);
      }
    });

    test("refuses to be used out of turn", async (t) => {
      const store = await prepared(t);
      const sink = await store.create("a", 1);
      await assert.rejects(sink.publish(), /internal: "a" is open, wanted flushed/);
      await sink.flush();
      await assert.rejects(sink.write(bytesOf("x"), 0), /internal: "a" is flushed, wanted open/);
      await assert.rejects(sink.read(new Uint8Array(1), 0), /internal/);
      await sink.discard();
      await assert.rejects(sink.publish(), /internal: "a" is discarded, wanted flushed/);
    });

    test("replaces an older file, which an open source goes on reading until it asks", async (t) => {
      const store = await prepared(t);
      await publish(store, "a", "old");
      const source = await store.open("a");
      await publish(store, "a", "new, longer");
      const bytes = new Uint8Array(3);
      if (isVersioned)
        await assert.rejects(source.read(bytes, 0), { name: "CheckpointError", code: "changed" });
      else {
        await source.read(bytes, 0);
        assert.equal(new TextDecoder().decode(bytes), "old");
      }
      await assert.rejects(source.checkUnchanged(), { name: "CheckpointError", code: "changed" });
      await source.close();
      assert.equal(await textOf(store, "a"), "new, longer");
    });

    test("cannot be made before prepare()", async (t) => {
      await assert.rejects(make(t).create("a", 1), { name: "BuildError", code: "write-failed" });
    });
  });

  describe(name, () => {
    test("is empty before and after prepare(), which may be called twice", async (t) => {
      const store = make(t);
      assert.deepEqual([await store.list(), await store.listUnder(".chimera/")], [[], []]);
      await store.prepare();
      await store.prepare();
      assert.deepEqual([await store.list(), await store.listUnder(".chimera/")], [[], []]);
    });

    test("writeSmall() writes, replaces, and leaves no temporary file", async (t) => {
      const store = await prepared(t);
      for (const text of ["one", "", "three"]) {
        await store.writeSmall("a.json", bytesOf(text));
        assert.equal(await textOf(store, "a.json"), text);
      }
      await store.writeSmall(".chimera/state.json", bytesOf("{}"));
      assert.deepEqual(await names(store), ["a.json"]);
      assert.deepEqual(await store.listUnder(".chimera/"), [{ name: ".chimera/state.json", byteLength: 2 }]);
    });

    test("claim() is given once, with its text; again after remove()", async (t) => {
      const store = await prepared(t);
      const texts = ["a", "b", "c"];
      const claims = await Promise.all(texts.map((text) => store.claim(".chimera/lock", text)));
      assert.equal(claims.filter((isGiven) => isGiven).length, 1, claims.join());
      assert.equal(await textOf(store, ".chimera/lock"), texts[claims.indexOf(true)]);
      await store.remove(".chimera/lock");
      assert.equal(await store.claim(".chimera/lock", "d"), true);
      assert.deepEqual(
        (await store.listUnder(".chimera/")).map(({ name }) => name),
        [".chimera/lock"],
      );
    });

    test("listUnder() lists by folder and start of name", async (t) => {
      const store = await prepared(t);
      for (const name of ["a", ".chimera/lock-2", ".chimera/lock-1", ".chimera/state"])
        await store.claim(name, name);
      const under = async (prefix: string) => (await store.listUnder(prefix)).map(({ name }) => name);
      assert.deepEqual(await under(".chimera/lock-"), [".chimera/lock-1", ".chimera/lock-2"]);
      assert.deepEqual(await under(".chimera/"), [".chimera/lock-1", ".chimera/lock-2", ".chimera/state"]);
      assert.deepEqual(await under("a"), ["a"]);
      assert.deepEqual(await under("none/"), []);
      assert.deepEqual(await store.listUnder(".chimera/state"), [{ name: ".chimera/state", byteLength: 14 }]);
    });

    test("remove() takes what is not there", async (t) => {
      await (await prepared(t)).remove("a");
    });

    test("removeState() removes the state and nothing else; twice, too", async (t) => {
      const store = await prepared(t);
      await publish(store, "a", "x");
      await store.writeSmall(".chimera/state.json", bytesOf("{}"));
      await store.create("b", 1);
      await store.removeState();
      await store.removeState();
      assert.deepEqual([await names(store), await store.listUnder(".chimera/")], [["a"], []]);
    });

    test("readSmall() gives nothing for what is not there, and refuses above the limit", async (t) => {
      const store = await prepared(t);
      await store.writeSmall("a", bytesOf("abcd"));
      assert.equal(await store.readSmall("b"), undefined);
      assert.equal((await store.readSmall("a", 4))?.length, 4);
      await assert.rejects(store.readSmall("a", 3), { name: "CheckpointError", code: "too-large" });
    });

    test("open() refuses what is not there; a read beyond the end is a change", async (t) => {
      const store = await prepared(t);
      await assert.rejects(store.open("a"), { name: "CheckpointError", code: "missing" });
      await publish(store, "a", "abcd");
      const source = await store.open("a");
      assert.deepEqual([source.name, source.byteLength], ["a", 4]);
      await source.read(new Uint8Array(0), 4);
      await source.checkUnchanged();
      const what = { name: "CheckpointError", code: "changed", message: /it ends at byte 4, wanted 2 more/ };
      await assert.rejects(source.read(new Uint8Array(3), 3), what);
      await source.close();
      await source.close();
      await assert.rejects(source.read(new Uint8Array(1), 0), /internal/);
    });
  });
}
