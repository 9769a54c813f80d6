/** Sources that are fetched in windows: how much of a file is asked for, held, and checked. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { WindowBudget } from "../../src/checkpoint/window-budget.ts";
import { WindowedSource } from "../../src/checkpoint/windowed-source.ts";

const WINDOW = 64 << 10;
const content = new Uint8Array(300 * WINDOW + 12_345).map((_, i) => (i * 31 + (i >> 9)) & 255);
const sha256 = createHash("sha256").update(content).digest("hex");

function sourceOf(
  bytes: Uint8Array,
  options: { sha256?: string; windowBytes?: number; budget?: WindowBudget } = {},
) {
  const reads: [number, number][] = [];
  const source = new WindowedSource({
    ...{ name: "model.safetensors", byteLength: bytes.length, identity: "1", windowBytes: WINDOW, sha256 },
    ...options,
    reader: {
      read: async (into, offset) => {
        reads.push([offset, into.length]);
        await null;
        into.set(bytes.subarray(offset, offset + into.length));
      },
    },
  });
  return { source, reads };
}

async function readAll(source: WindowedSource, order: readonly number[], step: number): Promise<void> {
  for (const from of order) {
    const some = new Uint8Array(Math.min(step, content.length - from));
    await source.read(some, from);
    assert.ok(Buffer.from(some).equals(content.subarray(from, from + some.length)));
  }
}

describe("windows of a source", () => {
  const step = 50_000;
  const places = [...Array(Math.ceil((content.length - 1000) / step)).keys()].map((i) => 1000 + i * step);

  test("the end of a file is not all of it", async () => {
    const { source, reads } = sourceOf(content);
    const byteLength = 2 * WINDOW;
    source.expect([{ offset: content.length - byteLength, byteLength }]);
    await source.read(new Uint8Array(byteLength), content.length - byteLength);
    await source.checkUnchanged();
    assert.equal(
      reads.reduce((sum, [, length]) => sum + length, 0),
      byteLength,
    );
  });

  for (const [order, name] of [
    [places, "forwards"],
    [[...places].reverse(), "backwards"],
  ] as const) {
    test(`all but the header, ${name}: the hash is checked`, async () => {
      const extents = [{ offset: 1000, byteLength: content.length - 1000 }];
      const right = sourceOf(content);
      right.source.expect(extents);
      await readAll(right.source, order, step);
      await right.source.checkUnchanged();
      const other = content.slice();
      other[500]! ^= 1; // in the header: what is read is right
      const wrong = sourceOf(other);
      wrong.source.expect(extents);
      await readAll(wrong.source, order, step);
      await assert.rejects(wrong.source.checkUnchanged(), { code: "damaged" });
    });
  }

  test("a shard that is read backwards is not held until its beginning comes", async () => {
    const byteLength = 600 << 20;
    const zeros = createHash("sha256");
    for (let i = 0; i < 600; i++) zeros.update(new Uint8Array(1 << 20));
    const source = new WindowedSource({
      ...{ name: "large", byteLength, identity: "1", sha256: zeros.digest("hex") },
      reader: { read: async () => {} },
    });
    source.expect([{ offset: 0, byteLength }]);
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    collect();
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    for (let from = byteLength - (8 << 20); from >= 0; from -= 8 << 20) {
      await source.read(new Uint8Array(1 << 20), from);
      collect();
      most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    await source.checkUnchanged();
    assert.ok(most < 160 << 20, `${most >> 20} MiB`);
  });

  test("files that are read side by side hold no more than their thread may, and little is fetched twice", async () => {
    for (const [files, most] of [
      [3, 8],
      [6, 4],
    ] as const) {
      const budget = new WindowBudget(most * WINDOW);
      let [fetched, read] = [0, 0];
      const sources = Array.from({ length: files }, () => {
        const { source, reads } = sourceOf(content, { budget });
        source.expect([{ offset: 0, byteLength: 40 * WINDOW }]);
        return { source, reads };
      });
      for (let from = 0; from < 40 * WINDOW; from += 10_000)
        for (const { source } of sources) {
          const some = new Uint8Array(Math.min(10_000, 40 * WINDOW - from));
          await source.read(some, from);
          assert.ok(Buffer.from(some).equals(content.subarray(from, from + some.length)));
          read += some.length;
        }
      for (const { reads } of sources) fetched += reads.reduce((sum, [, length]) => sum + length, 0);
      assert.ok(budget.peak <= most * WINDOW, `${budget.peak / WINDOW} windows were held`);
      assert.ok(fetched <= 1.9 * read, `${fetched} bytes were fetched for ${read}`);
      for (const { source } of sources) await source.close();
    }
  });
});
