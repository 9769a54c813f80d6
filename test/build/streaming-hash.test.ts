import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { StreamingHash } from "../../src/build/streaming-hash.ts";
import { randomFrom } from "./support.ts";

test("StreamingHash is the hash of the file, in whatever order its pieces came", async () => {
  const random = randomFrom(1);
  const file = Uint8Array.from({ length: 10_000 }, () => random() * 256);
  const expected = createHash("sha256").update(file).digest("hex");
  const cuts = fc.uniqueArray(fc.integer({ min: 1, max: 9999 }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(cuts, fc.infiniteStream(fc.nat()), async (at, order) => {
      const edges = [0, ...at.toSorted((a, b) => a - b), file.length];
      const pieces = edges
        .slice(1)
        .map((to, i) => ({ from: edges[i]!, to, rank: order.next().value as number }));
      const hash = new StreamingHash();
      for (const { from, to } of pieces.toSorted((a, b) => a.rank - b.rank))
        hash.add(file.subarray(from, to), from);
      let readBack = 0;
      const read = async (into: Uint8Array, offset: number) => {
        readBack += into.length;
        into.set(file.subarray(offset, offset + into.length));
      };
      assert.equal(await hash.finish({ read }, file.length), expected);
      const isInOrder = pieces.every(({ rank }, i) => i === 0 || rank >= pieces[i - 1]!.rank);
      if (isInOrder) assert.equal(readBack, 0);
    }),
    { seed: 2, numRuns: 100 },
  );
});

test("StreamingHash reads files larger than its buffer back in pieces, and stops when told", async () => {
  const bytes = new Uint8Array(9 << 20).fill(7);
  const sink = { read: async (into: Uint8Array) => void into.fill(7) };
  assert.equal(
    await new StreamingHash().finish(sink, bytes.length),
    createHash("sha256").update(bytes).digest("hex"),
  );
  let calls = 0;
  const stop = () => {
    if (++calls === 2) throw new Error("stop");
  };
  await assert.rejects(new StreamingHash().finish(sink, bytes.length, stop), { message: "stop" });
  assert.equal(await new StreamingHash().finish(sink, 0), createHash("sha256").digest("hex"));
});
