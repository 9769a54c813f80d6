/**
 * Heads of GGUF files: one that the reference library wrote (scripts/make-gguf-cases.py), those that lie, one by
 * one, and bytes at random.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { CheckpointError } from "../../src/base/errors.ts";
import { MAX_HEAD_BYTES } from "../../src/gguf/cursor.ts";
import { type GgufHeader, readGgufHeader } from "../../src/gguf/header.ts";
import { blockOf } from "../../src/gguf/types.ts";
import { entry, gguf, type Head, longSource, pair, sourceOf, text, u8, u32, u64 } from "./source-of.ts";

const FOLDER = fileURLToPath(new URL("../../../test/golden/gguf/", import.meta.url));
const GOLDEN = readFileSync(`${FOLDER}values.gguf`);

test("readGgufHeader() reads what the reference library wrote", async () => {
  const { tensors, metadata, version, dataStart } = await readGgufHeader(
    await sourceOf(GOLDEN),
    "values.gguf",
  );
  const cases = JSON.parse(readFileSync(`${FOLDER}cases.json`, "utf8")) as {
    tensors: Record<string, object>;
  };
  const found = tensors.map(({ name, ...rest }) => [name, rest]);
  assert.deepEqual(Object.fromEntries(found), cases.tensors);
  assert.equal(tensors[0]!.offset, dataStart);
  assert.equal(version, 3);
  const value = (key: string) => metadata.get(key)!.value;
  assert.equal(value("general.name"), "golden ✓");
  const numbers = {
    u8: 200,
    i8: -100,
    u16: 60000,
    i16: -30000,
    u32: 4e9,
    i32: -2e9,
    u64: 2 ** 40,
    i64: -(2 ** 40),
  };
  for (const [key, wanted] of Object.entries(numbers)) assert.equal(value(`v.${key}`), wanted, key);
  assert.deepEqual([value("v.f32"), value("v.f64"), value("v.bool")], [Math.fround(0.1), 0.1, true]);
  assert.deepEqual(value("v.strings"), ["a", "", "é"]);
  assert.deepEqual([...(value("v.numbers") as Int32Array)], [1, -2, 3]);
});

const tensor = (name = "t", offset: number | bigint = 0) => entry(name, { dims: [8], type: 0, offset });

/** Each is a whole file but for one lie. */
const LIES: [what: string, head: Head, code: string, message: RegExp][] = [
  ["another format", { magic: "GGML" }, "not-gguf", /begins with "GGML", wanted "GGUF"/],
  ["a Git LFS pointer", { magic: "vers" }, "not-gguf", /begins with "vers"/],
  ["version 1", { version: 1 }, "gguf-version", /version is 1, wanted 2 or 3/],
  ["a big-endian file", { version: 0x03000000 }, "gguf-version", /big-endian, wanted little-endian/],
  [
    "2^60 tensors",
    { numTensors: 2n ** 60n },
    "too-large",
    /number of tensors is 1152921504606846976, wanted less than 2\^53/,
  ],
  ["10^12 tensors", { numTensors: 10n ** 12n }, "too-many", /1,000,000,000,000 tensors, wanted at most/],
  ["10^9 keys", { numPairs: 1e9 }, "too-many", /1,000,000,000 key-value pairs, wanted at most/],
  [
    "a key of 2^40 bytes",
    { pairs: [u64(2 ** 40)], dataBytes: 64 },
    "too-many",
    /1,099,511,627,776 bytes of a key/,
  ],
  ["an empty key", { pairs: [pair("", 4, u32(1))] }, "bad-name", /has 0 bytes, wanted 1 to 65,535/],
  [
    "a key twice",
    { pairs: [pair("k", 4, u32(1)), pair("k", 4, u32(2))] },
    "duplicate-key",
    /"k" is there twice/,
  ],
  ["a string of 2^50 bytes", { pairs: [pair("k", 8, u64(2 ** 50))] }, "too-many", /bytes of "k"/],
  [
    "an array of 2^50 numbers",
    { pairs: [pair("k", 9, u32(4), u64(2 ** 50))] },
    "too-many",
    /elements of "k"/,
  ],
  [
    "an array of 2^50 strings",
    { pairs: [pair("k", 9, u32(8), u64(2 ** 50))] },
    "too-many",
    /elements of "k"/,
  ],
  ["an array of arrays", { pairs: [pair("k", 9, u32(9), u64(1))] }, "bad-value", /array of arrays/],
  ["a value of type 13", { pairs: [pair("k", 13, u32(1))] }, "bad-value", /type 13, wanted 0 to 12/],
  ["a boolean of 2", { pairs: [pair("k", 7, u8(2))] }, "bad-value", /boolean of 2, wanted 0 or 1/],
  [
    "an alignment of 0",
    { pairs: [pair("general.alignment", 4, u32(0))] },
    "bad-alignment",
    /is 0, wanted a power of two/,
  ],
  ["an alignment of 24", { pairs: [pair("general.alignment", 4, u32(24))] }, "bad-alignment", /is 24/],
  [
    "an alignment of 2^31",
    { pairs: [pair("general.alignment", 4, u32(2 ** 31))] },
    "bad-alignment",
    /is 2147483648/,
  ],
  [
    "an alignment of words",
    { pairs: [pair("general.alignment", 8, text("32"))] },
    "bad-alignment",
    /is "32"/,
  ],
  ["no dimension", { entries: [entry("t", { dims: [], type: 0, offset: 0 })] }, "bad-shape", /0 dimensions/],
  [
    "five dimensions",
    { entries: [entry("t", { dims: [1, 1, 1, 1, 1], type: 0, offset: 0 })] },
    "bad-shape",
    /5 dimensions/,
  ],
  [
    "10^9 dimensions",
    { entries: [Buffer.concat([text("t"), u32(1e9)])], dataBytes: 64 },
    "bad-shape",
    /1000000000 dimensions/,
  ],
  [
    "a dimension of 2^63",
    { entries: [entry("t", { dims: [2n ** 63n], type: 0, offset: 0 })] },
    "too-large",
    /dimension of "t"/,
  ],
  [
    "dimensions that overflow",
    { entries: [entry("t", { dims: [2 ** 40, 2 ** 40], type: 0, offset: 0 })] },
    "bad-shape",
    /no number of bytes below 2\^53/,
  ],
  [
    "rows of half a block",
    { entries: [entry("t", { dims: [40, 2], type: 8, offset: 0 })] },
    "bad-shape",
    /Q8_0 \[2, 40\] has no whole blocks/,
  ],
  [
    "a type that is not known",
    { entries: [entry("t", { dims: [8], type: 77, offset: 0 })] },
    "unknown-type",
    /type 77/,
  ],
  [
    "a type that was removed",
    { entries: [entry("t", { dims: [32], type: 4, offset: 0 })] },
    "unknown-type",
    /type 4/,
  ],
  [
    "an offset beyond the file",
    { entries: [tensor("t", 1 << 20)], dataBytes: 32 },
    "bad-offsets",
    /offset is 1,048,576, wanted 0/,
  ],
  ["an offset of 2^62", { entries: [tensor("t", 2n ** 62n)], dataBytes: 32 }, "too-large", /offset of "t"/],
  [
    "tensors that overlap",
    { entries: [tensor("a"), tensor("b", 0)], dataBytes: 64 },
    "bad-offsets",
    /offset is 0, wanted 32/,
  ],
  [
    "a gap",
    { entries: [tensor("a"), tensor("b", 64)], dataBytes: 96 },
    "bad-offsets",
    /offset is 64, wanted 32/,
  ],
  [
    "an offset off the alignment",
    { entries: [tensor("a"), tensor("b", 33)], dataBytes: 96 },
    "bad-offsets",
    /offset is 33/,
  ],
  [
    "a name twice",
    { entries: [tensor("a"), tensor("a", 32)], dataBytes: 64 },
    "duplicate-tensor",
    /"a" in "x.gguf": it is there twice/,
  ],
  [
    "data that ends too early",
    { entries: [tensor("a")], dataBytes: 31 },
    "truncated",
    /ends at byte 96, the file holds 95/,
  ],
];

describe("readGgufHeader() refuses", () => {
  for (const [what, head, code, message] of LIES) {
    test(what, async () => {
      await assert.rejects(readGgufHeader(await sourceOf(gguf(head)), "x.gguf"), (error: unknown) => {
        assert.ok(error instanceof CheckpointError, `${error}`);
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        assert.ok(error.message.startsWith("Cannot read "));
        return true;
      });
    });
  }

  test("names that are no UTF-8", async () => {
    const pairs = [Buffer.concat([u64(2), Buffer.of(0xc3, 0x28), u32(4), u32(1)])];
    await assert.rejects(readGgufHeader(await sourceOf(gguf({ pairs })), "x.gguf"), { code: "bad-name" });
  });

  test("every truncation of a whole file", async () => {
    for (let length = 0; length < GOLDEN.length; length += length < 1500 ? 1 : 211) {
      const cut = GOLDEN.subarray(0, length);
      await assert.rejects(readGgufHeader(await sourceOf(cut), "x.gguf"), CheckpointError, `${length} bytes`);
    }
  });

  test("a head without end, without reading all of it: memory stays bounded", async () => {
    // Strings of no bytes fill it up; the file says that it holds a terabyte.
    const start = gguf({ pairs: [pair("k", 9, u32(8), u64(3_000_000))], numPairs: 2 });
    const before = process.memoryUsage().rss;
    await assert.rejects(readGgufHeader(await longSource(start, 1e12), "x.gguf"), { code: "bad-name" });
    const bytes = gguf({ pairs: [pair("k", 8, u64(MAX_HEAD_BYTES - 50))], numPairs: 2 });
    await assert.rejects(readGgufHeader(await longSource(bytes, 1e12), "x.gguf"), {
      code: "header-too-large",
    });
    assert.ok(process.memoryUsage().rss - before < 6e8, `${process.memoryUsage().rss - before} bytes more`);
  });
});

test("readGgufHeader() takes version 2, another alignment, empty tensors", async () => {
  const pairs = [pair("general.alignment", 4, u32(64))];
  const entries = [tensor("a"), entry("none", { dims: [0, 4], type: 12, offset: 64 }), tensor("b", 64)];
  const bytes = gguf({ version: 2, pairs, entries, dataBytes: 96, alignment: 64 });
  const { tensors, alignment, dataStart } = await readGgufHeader(await sourceOf(bytes), "x.gguf");
  assert.equal(alignment, 64);
  assert.deepEqual(
    tensors.map(({ offset }) => offset - dataStart),
    [0, 64, 64],
  );
});

/** What whoever reads tensors relies on. */
function check({ tensors, fileBytes, dataStart, alignment }: GgufHeader): void {
  let end = dataStart;
  for (const { name, type, shape, offset, byteLength } of tensors) {
    assert.ok(offset >= end && offset % alignment === 0, name);
    const { elements, bytes } = blockOf(type);
    assert.equal(byteLength, (shape.reduce((product, dim) => product * dim, 1) / elements) * bytes, name);
    end = offset + byteLength;
    assert.ok(end <= fileBytes, name);
  }
}

describe("readGgufHeader() on bytes at random gives a CheckpointError, or tensors that lie within the file", () => {
  const attempt = async (bytes: Uint8Array) => {
    try {
      check(await readGgufHeader(await sourceOf(bytes), "x.gguf"));
      return true;
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      assert.ok(error.message.length < 2000 && !/\p{Cc}/u.test(error.message), error.message);
      return false;
    }
  };

  test("a whole file with some bytes changed", async () => {
    let accepted = 0;
    const change = fc.record({ at: fc.nat(1500), value: fc.nat(255) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        const bytes = Uint8Array.from(GOLDEN);
        for (const { at, value } of changes) bytes[at] = value;
        if (await attempt(bytes)) accepted++;
      }),
      { seed: 20_250_501, numRuns: 3000 },
    );
    assert.ok(accepted > 100, `${accepted} were accepted: the changes do not reach what is checked last`);
  });

  test("a head of any numbers", async () => {
    const number = fc.oneof(fc.nat(40), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
    const value = fc.oneof(
      fc.tuple(fc.constantFrom(4, 5, 6), fc.uint8Array({ minLength: 4, maxLength: 4 })),
      fc.tuple(fc.nat(14), fc.uint8Array({ maxLength: 24 })),
    );
    const record = fc.record({
      numTensors: number,
      numPairs: number,
      values: fc.array(value, { maxLength: 4 }),
      entries: fc.array(
        fc.record({ dims: fc.array(number, { maxLength: 6 }), type: fc.nat(45), offset: number }),
        { maxLength: 4 },
      ),
      exact: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(record, async ({ numTensors, numPairs, values, entries, exact }) => {
        const pairs = values.map(([type, bytes], i) => pair(`k${i}`, type, Buffer.from(bytes)));
        const made = entries.map((each, i) => entry(`t${i}`, each));
        const counts = exact ? {} : { numTensors, numPairs };
        await attempt(gguf({ ...counts, pairs, entries: made, dataBytes: 256 }));
      }),
      { seed: 20_250_502, numRuns: 3000 },
    );
  });
});
