/**
 * Bytes at random into the readers of headers and indexes: a CheckpointError or a result that holds what
 * the format demands, never anything else. Seeds are fixed; mutations start from the headers of mini-v3.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CheckpointError } from "../../src/base/errors.ts";
import { parseHeader, readHeader, type ShardHeader } from "../../src/checkpoint/header.ts";
import { parseShardIndex } from "../../src/checkpoint/shard-index.ts";
import { byteLengthOf, isDtype } from "../../src/tensor/dtype.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { rawShard } from "../support/safetensors.ts";

const SEED = { seed: 20_250_424 };
const MINI = "models/mini-v3/model-00001-of-000002.safetensors";
const MINI_INDEX = readFileSync("models/mini-v3/model.safetensors.index.json");

/** The result, or undefined for a CheckpointError; whatever else is thrown fails the test. */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    assert.ok(
      error.code !== "" && error.message.length < 2000 && !/\p{Cc}/u.test(error.message),
      error.message,
    );
    return undefined;
  }
}

/** What readers rely on, written from the format and from JSON.parse(). */
function checkHeader({ tensors, metadata, dataStart, fileBytes }: ShardHeader, json: Uint8Array): void {
  let position = dataStart;
  assert.equal(dataStart, 8 + json.length);
  for (const { name, dtype, shape, offset, byteLength } of tensors) {
    assert.equal(offset, position, name);
    assert.ok(isDtype(dtype) && shape.every((dim) => Number.isSafeInteger(dim) && dim >= 0));
    assert.equal(byteLength, byteLengthOf(dtype, shape), name);
    position += byteLength;
  }
  assert.equal(position, fileBytes);
  const reference = JSON.parse(new TextDecoder().decode(json)) as Record<string, object>;
  const { __metadata__, ...entries } = reference; // an own "__proto__" stays one
  assert.deepEqual(Object.fromEntries(metadata), __metadata__ ?? {});
  const found = Object.fromEntries(
    tensors.map(({ name, dtype, shape, offset, byteLength }) => {
      const begin = offset - dataStart;
      return [name, { dtype, shape, data_offsets: [begin, begin + byteLength] }];
    }),
  );
  assert.deepEqual(found, entries);
}

function fuzzHeader(json: Uint8Array, fileBytes: number): boolean {
  const header = attempt(() => parseHeader(json, { file: "x.safetensors", fileBytes }));
  if (header) checkHeader(header, json);
  return header !== undefined;
}

/** Pieces of headers, in any order and number. */
const headerish = fc
  .array(
    fc.constantFrom(
      ...[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"a":{',
        '"b":{',
        '"dtype":',
        '"U8"',
        '"F32"',
        '"F4"',
        '"shape":',
        "[]",
        "[4]",
      ],
      ...[
        "[0]",
        "[2,2]",
        '"data_offsets":',
        "[0,4]",
        "[4,8]",
        "[0,0]",
        '"__metadata__":',
        '{"k":"v"}',
        " ",
        "}}",
        '"',
      ],
      '"dtype":"U8","shape":[4],"data_offsets":[0,4]',
      '"dtype":"F32","shape":[1],"data_offsets":[4,8]',
    ),
    { maxLength: 14 },
  )
  .map((parts) => `{${parts.join("")}`);

/** A flip, a cut, an insertion or another number at a place of some bytes. */
interface Mutation {
  kind: "flip" | "cut" | "insert" | "number" | "repeat";
  at: number;
  value: number;
}
const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom("flip", "cut", "insert", "number", "repeat"),
  at: fc.nat(),
  value: fc.nat(255),
});

function mutate(bytes: Uint8Array, { kind, at, value }: Mutation): Uint8Array {
  const place = at % (bytes.length + 1);
  const [head, tail] = [bytes.subarray(0, place), bytes.subarray(place)];
  if (kind === "cut") return Buffer.concat([head, tail.subarray(value)]);
  if (kind === "insert") return Buffer.concat([head, Uint8Array.of(value), tail]);
  if (kind === "repeat") return Buffer.concat([head, tail.subarray(0, value), tail]);
  const changed = bytes.slice();
  if (kind === "flip" && place < bytes.length) changed[place]! ^= 1 << (value % 8);
  // A digit for a digit: the text stays JSON, and layouts go wrong.
  const digit =
    kind === "number" ? bytes.findIndex((byte, i) => i >= place && byte >= 0x30 && byte <= 0x39) : -1;
  if (digit >= 0) changed[digit] = 0x30 + (value % 10);
  return changed;
}

/** A small part of the real header, so that many mutations fit into a second; the data it describes. */
function smallHeader(): { json: Uint8Array; dataBytes: number } {
  const file = readFileSync(MINI);
  const text = file.subarray(8, 8 + Number(file.readBigUInt64LE(0))).toString();
  const entries = Object.entries(
    JSON.parse(text) as Record<string, { data_offsets?: [number, number] }>,
  ).slice(0, 6);
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  return { json, dataBytes: entries.at(-1)![1].data_offsets![1] };
}

describe("parseHeader()", () => {
  test("survives arbitrary bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(100), fc.boolean(), (bytes, fileBytes, opened) => {
        if (opened && bytes.length > 0) bytes[0] = 0x7b;
        fuzzHeader(bytes, fileBytes);
      }),
      { ...SEED, numRuns: 10_000 },
    );
  });

  test("survives arbitrary JSON", () => {
    fc.assert(
      fc.property(fc.json(), (json) => {
        fuzzHeader(new TextEncoder().encode(json), 8 + Buffer.byteLength(json));
      }),
      { ...SEED, numRuns: 2000 },
    );
  });

  test("survives pieces of headers in any order, and accepts some", () => {
    let accepted = 0;
    fc.assert(
      fc.property(headerish, fc.constantFrom(0, 4, 8), (text, dataBytes) => {
        if (fuzzHeader(new TextEncoder().encode(text), 8 + Buffer.byteLength(text) + dataBytes)) accepted++;
      }),
      { ...SEED, numRuns: 30_000 },
    );
    assert.ok(accepted > 10, `accepted ${accepted}`);
  });

  test("survives mutations of a real header, and accepts some", () => {
    const { json, dataBytes } = smallHeader();
    assert.ok(fuzzHeader(json, 8 + json.length + dataBytes), "the header itself is refused");
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
        const bytes = mutations.reduce(mutate, json);
        if (fuzzHeader(bytes, 8 + bytes.length + dataBytes)) accepted++;
      }),
      { ...SEED, numRuns: 10_000 },
    );
    assert.ok(accepted > 100, `accepted ${accepted}`);
  });
});

describe("readHeader()", () => {
  const survives = async (file: Uint8Array): Promise<void> => {
    const source = await new MemoryStore({ "x.safetensors": file }).open("x.safetensors");
    try {
      const header = await readHeader(source);
      checkHeader(header, file.subarray(8, header.dataStart));
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
    }
  };

  test("survives arbitrary bytes and lengths", async () => {
    const length = fc.oneof(fc.bigInt({ min: 0n, max: 40n }), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }));
    const file = fc.tuple(fc.uint8Array({ maxLength: 32 }), length);
    await fc.assert(
      fc.asyncProperty(file, fc.nat(40), async ([json, said], cut) =>
        survives(rawShard(json, 0, said).subarray(0, cut)),
      ),
      { ...SEED, numRuns: 5000 },
    );
  });

  test("survives mutations of a real file, its length among them", async () => {
    const { json, dataBytes } = smallHeader();
    const file = rawShard(json, 0);
    const near = fc.record({
      kind: fc.constantFrom("flip", "insert", "cut"),
      at: fc.nat(10),
      value: fc.nat(255),
    });
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutation, near as fc.Arbitrary<Mutation>), async (change) => {
        await survives(Buffer.concat([mutate(file, change), new Uint8Array(dataBytes)]));
      }),
      { ...SEED, numRuns: 3000 },
    );
  });
});

describe("parseShardIndex()", () => {
  const fuzzIndex = (bytes: Uint8Array): boolean => {
    const index = attempt(() => parseShardIndex(bytes, "index.json"));
    if (!index) return false;
    const reference = JSON.parse(new TextDecoder().decode(bytes)) as { weight_map: object };
    assert.deepEqual(Object.fromEntries(index.weightMap), reference.weight_map);
    for (const shard of index.weightMap.values()) assert.match(shard, /^[^/\\.][^/\\]*\.safetensors$/);
    return true;
  };

  test("survives arbitrary bytes and JSON", () => {
    const text = fc.json().map((json) => new TextEncoder().encode(json));
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array(), text), (bytes) => void fuzzIndex(bytes)),
      { ...SEED, numRuns: 5000 },
    );
  });

  test("survives mutations of a real index, and accepts some", () => {
    const { metadata, weight_map } = JSON.parse(MINI_INDEX.toString()) as {
      metadata: object;
      weight_map: object;
    };
    const few = Object.fromEntries(Object.entries(weight_map).slice(0, 8));
    const bytes = new TextEncoder().encode(JSON.stringify({ metadata, weight_map: few }, null, 1));
    assert.ok(fuzzIndex(bytes));
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 3 }), (mutations) => {
        if (fuzzIndex(mutations.reduce(mutate, bytes))) accepted++;
      }),
      { ...SEED, numRuns: 5000 },
    );
    assert.ok(accepted > 100, `accepted ${accepted}`);
  });
});
