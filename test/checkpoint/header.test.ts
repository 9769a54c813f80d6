import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CheckpointError } from "../../src/base/errors.ts";
import {
  encodeHeader,
  type HeaderEntry,
  parseHeader,
  readHeader,
  type ShardHeader,
} from "../../src/checkpoint/header.ts";
import { byteLengthOf, DTYPES } from "../../src/tensor/dtype.ts";
import { MemoryStore } from "../support/memory-store.ts";
import { rawShard, shardBytes } from "../support/safetensors.ts";

const SEED = { seed: 20_250_424 };
const MINI = [
  "models/mini-v3/model-00001-of-000002.safetensors",
  "models/mini-v3/model-00002-of-000002.safetensors",
];

async function read(file: Uint8Array): Promise<ShardHeader> {
  return readHeader(await new MemoryStore({ "x.safetensors": file }).open("x.safetensors"));
}

const ACCEPTED: [what: string, header: string, data: number, tensors: unknown[]][] = [
  ["no tensors", "{}", 0, []],
  ["spaces and line feeds after the object", "{} \n\t\r ", 0, []],
  ["a scalar", '{"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}', 8, [["a", "F64", [], 0, 8]]],
  ["an empty tensor", '{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}', 0, [["a", "F32", [0], 0, 0]]],
  [
    "a zero beside dimensions whose product overflows",
    `{"a":{"dtype":"F32","shape":[${"9007199254740991,".repeat(31)}0],"data_offsets":[0,0]}}`,
    0,
    [["a", "F32", [...Array(31).fill(2 ** 53 - 1), 0], 0, 0]],
  ],
  [
    "half bytes that are whole together",
    '{"a":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]}}',
    3,
    [["a", "F4", [3, 2], 0, 3]],
  ],
  [
    "six bits, four times",
    '{"a":{"dtype":"F6_E3M2","shape":[4],"data_offsets":[0,3]}}',
    3,
    [["a", "F6_E3M2", [4], 0, 3]],
  ],
  [
    "fields in another order, with space, and the metadata last",
    ' { "a" : { "data_offsets" : [ 0 , 1 ] , "shape" : [ 1 ] , "dtype" : "U8" } , "__metadata__" : { } } '.trim(),
    1,
    [["a", "U8", [1], 0, 1]],
  ],
  [
    "tensors in another order than their data",
    '{"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
    3,
    [
      ["a", "U8", [1], 0, 1],
      ["b", "U8", [2], 1, 2],
    ],
  ],
  [
    "empty tensors between others, in the order of the header",
    '{"c":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"z":{"dtype":"U8","shape":[0],"data_offsets":[1,1]},' +
      '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"y":{"dtype":"U8","shape":[0],"data_offsets":[1,1]}}',
    2,
    [
      ["a", "U8", [1], 0, 1],
      ["z", "U8", [0], 1, 0],
      ["y", "U8", [0], 1, 0],
      ["c", "U8", [1], 1, 1],
    ],
  ],
  [
    "the names __proto__, constructor and the empty one",
    '{"__proto__":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"constructor":{"dtype":"U8","shape":[0],' +
      '"data_offsets":[0,0]},"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    0,
    [
      ["__proto__", "U8", [0], 0, 0],
      ["constructor", "U8", [0], 0, 0],
      ["", "U8", [0], 0, 0],
    ],
  ],
  [
    "escapes in a name",
    '{"\\u0061\\n\\ud83d\\ude00":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}',
    0,
    [["a\n😀", "U8", [0], 0, 0]],
  ],
];

describe("readHeader() accepts", () => {
  for (const [what, header, data, tensors] of ACCEPTED) {
    test(what, async () => {
      const file = rawShard(header, data);
      const { dataStart, fileBytes, tensors: found } = await read(file);
      assert.equal(dataStart, 8 + Buffer.byteLength(header));
      assert.equal(fileBytes, file.length);
      const shown = found.map(({ name, dtype, shape, offset, byteLength }) => [
        name,
        dtype,
        shape,
        offset - dataStart,
        byteLength,
      ]);
      assert.deepEqual(shown, tensors);
    });
  }
});

test("readHeader() gives the metadata in file order", async () => {
  const { metadata } = await read(rawShard('{"__metadata__":{"format":"pt","__proto__":"x","":""}}'));
  assert.deepEqual(
    [...metadata],
    [
      ["format", "pt"],
      ["__proto__", "x"],
      ["", ""],
    ],
  );
});

test("readHeader() reads no tensor data", async () => {
  const bytes = new Uint8Array(100_000);
  const store = new MemoryStore({
    "x.safetensors": shardBytes([{ name: "a", dtype: "U8", shape: [100_000], bytes }]),
  });
  const { dataStart } = await readHeader(await store.open("x.safetensors"));
  assert.equal(store.bytesRead, dataStart);
});

/** Entries of random types and shapes, of whole bytes; names of any text, once each. */
const entries = fc.uniqueArray(
  fc.record(
    {
      name: fc.string({ unit: "grapheme", maxLength: 12 }).filter((name) => name !== "__metadata__"),
      dtype: fc.constantFrom(...DTYPES),
      shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
    },
    { noNullPrototype: true },
  ),
  { selector: ({ name }) => name, maxLength: 12 },
);
const wholeBytes = entries.map((all) =>
  all.filter(({ dtype, shape }) => !Number.isNaN(byteLengthOf(dtype, shape))),
);
const metadata = fc.uniqueArray(fc.tuple(fc.string({ unit: "grapheme" }), fc.string({ unit: "grapheme" })), {
  selector: ([key]) => key,
});

describe("encodeHeader()", () => {
  test("round-trips through parseHeader(), with data on a multiple of 8", () => {
    fc.assert(
      fc.property(wholeBytes, metadata, (tensors, pairs) => {
        const header = encodeHeader(tensors, new Map(pairs));
        const dataBytes = tensors.reduce((sum, { dtype, shape }) => sum + byteLengthOf(dtype, shape), 0);
        const parsed = parseHeader(header.subarray(8), { file: "x", fileBytes: header.length + dataBytes });
        assert.equal(header.length % 8, 0);
        assert.equal(parsed.dataStart, header.length);
        assert.deepEqual([...parsed.metadata], pairs);
        assert.deepEqual(
          parsed.tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
          tensors,
        );
      }),
      { ...SEED, numRuns: 1000 },
    );
  });

  test("agrees with JSON.stringify()", () => {
    const tensors: HeaderEntry[] = [
      { name: 'é"\\\n\u007f\u2028', dtype: "BF16", shape: [2, 3] },
      { name: "b", dtype: "F32", shape: [] },
    ];
    const bytes = [new Uint8Array(12), new Uint8Array(4)];
    const expected = shardBytes(
      tensors.map((tensor, i) => ({ ...tensor, shape: [...tensor.shape], bytes: bytes[i]! })),
    );
    const header = encodeHeader(tensors, new Map([["format", "pt"]]));
    assert.deepEqual(Buffer.from(header), Buffer.from(expected.subarray(0, header.length)));
  });

  for (const file of MINI) {
    test(`makes the header of ${file} again, byte by byte`, () => {
      const bytes = readFileSync(file);
      const end = 8 + Number(bytes.readBigUInt64LE(0));
      const header = parseHeader(bytes.subarray(8, end), { file, fileBytes: bytes.length });
      assert.deepEqual(Buffer.from(encodeHeader(header.tensors, header.metadata)), bytes.subarray(0, end));
    });
  }

  const U8: HeaderEntry = { name: "a", dtype: "U8", shape: [1] };
  const REFUSED: [what: string, tensors: HeaderEntry[], code: string][] = [
    ["a name twice", [U8, U8], "header-json"],
    ["the name __metadata__", [{ ...U8, name: "__metadata__" }], "header-json"],
    ["a name with half a surrogate pair", [{ ...U8, name: "\ud800" }], "header-json"],
    ["half bytes", [{ ...U8, dtype: "F4" }], "bad-shape"],
    ["a fraction", [{ ...U8, shape: [1.5] }], "bad-shape"],
    ["a negative dimension", [{ ...U8, shape: [-1] }], "header-json"],
    ["a dimension of 10^21", [{ ...U8, shape: [1e21] }], "bad-shape"],
    ["33 dimensions", [{ ...U8, shape: Array(33).fill(1) }], "header-json"],
    ["an unknown type", [{ ...U8, dtype: "F8" as "U8" }], "bad-shape"],
  ];
  for (const [what, tensors, code] of REFUSED) {
    test(`refuses ${what}`, () =>
      assert.throws(() => encodeHeader(tensors, new Map()), { name: "CheckpointError", code }));
  }
});

test("parseHeader() reads 92,000 tensors (12 MB) in less than 1 s of CPU", () => {
  const tensors = Array.from({ length: 92_000 }, (_, i): HeaderEntry => {
    const name = `model.layers.${i % 62}.mlp.experts.${i}.down_proj.weight`;
    return i % 2
      ? { name: `${name}_scale_inv`, dtype: "F32", shape: [16, 56] }
      : { name, dtype: "F8_E4M3", shape: [2048, 7168] };
  });
  const header = encodeHeader(tensors, new Map());
  assert.ok(header.length > 11_000_000, `${header.length} bytes`);
  const dataBytes = tensors.reduce((sum, { dtype, shape }) => sum + byteLengthOf(dtype, shape), 0);
  assert.ok(dataBytes > 2 ** 32);
  let best = Number.POSITIVE_INFINITY;
  // The best of a few: other tests run beside this one.
  for (let run = 0; run < 10 && best >= 1000; run++) {
    const began = process.cpuUsage();
    const parsed = parseHeader(header.subarray(8), { file: "x", fileBytes: header.length + dataBytes });
    const { user, system } = process.cpuUsage(began);
    best = Math.min(best, (user + system) / 1000);
    assert.equal(parsed.tensors.length, tensors.length);
  }
  assert.ok(best < 1000, `${best} ms`);
});

test("parseHeader() refuses a header above 100 MB, so that none is written either", () => {
  const refused = {
    name: "CheckpointError",
    code: "header-too-large",
    message: /is 100,000,001 bytes, wanted at most/,
  };
  assert.throws(() => parseHeader(new Uint8Array(100_000_001), { file: "x", fileBytes: 2 ** 32 }), refused);
});

test("parseHeader() refuses data that lies outside the file it is told of", () => {
  const json = new TextEncoder().encode("{}");
  assert.throws(() => parseHeader(json, { file: "x", fileBytes: 0 }), CheckpointError);
});
