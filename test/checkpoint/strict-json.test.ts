import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { CheckpointError } from "../../src/base/errors.ts";
import { JsonFault, JsonScanner, scanJson } from "../../src/checkpoint/strict-json.ts";

const SEED = { seed: 20_250_424 };

/** What skip() takes for a whole text, or undefined when it refuses. */
function skipAll(text: string): string | undefined {
  const scanner = new JsonScanner(text);
  try {
    const value = scanner.skip();
    scanner.end();
    return value;
  } catch (error) {
    if (error instanceof JsonFault) return undefined;
    throw error;
  }
}

function parses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Pieces that JSON is made of, in any order: most texts are wrong, some are right. */
const jsonish = fc
  .array(
    fc.constantFrom(
      ...[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        '"a"',
        '"b":',
        "1",
        "0",
        "-",
        ".5",
        "e3",
        "E+1",
        "01",
        "true",
        "null",
      ],
      ...[
        "false",
        " ",
        "\n",
        "\t",
        "\\",
        "\\n",
        "\\u00",
        "12",
        '"\\ud800"',
        "\u0001",
        "\u00a0",
        "/",
        "NaN",
        "é",
      ],
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

describe("JsonScanner.skip()", () => {
  test("accepts what JSON.parse() accepts, and nothing else", () => {
    fc.assert(
      fc.property(jsonish, (text) =>
        assert.equal(skipAll(text) !== undefined, parses(text), JSON.stringify(text)),
      ),
      { ...SEED, numRuns: 30_000 },
    );
  });

  test("accepts every JSON text, with space around its values, and returns it", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom("", " ", "\r\n\t"), (json, space) => {
        const spaced = JSON.stringify(JSON.parse(json), null, space === "" ? 0 : 3);
        assert.equal(skipAll(space + spaced + space), spaced);
      }),
      { ...SEED, numRuns: 1000 },
    );
  });

  test("refuses JSON with a character taken out or put in where JSON.parse() does", () => {
    const character = fc.constantFrom(...'{}[],:"\\ 01-.eEtrufalsn\n');
    fc.assert(
      fc.property(fc.json(), fc.nat(), character, fc.boolean(), (json, position, put, takes) => {
        const at = position % (json.length + 1);
        const text = json.slice(0, at) + (takes ? "" : put) + json.slice(at + (takes ? 1 : 0));
        assert.equal(skipAll(text) !== undefined, parses(text), JSON.stringify(text));
      }),
      { ...SEED, numRuns: 10_000 },
    );
  });

  test("takes values 64 deep and refuses 65", () => {
    const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    assert.equal(skipAll(nested(64)), nested(64));
    assert.equal(skipAll(nested(65)), undefined);
    assert.equal(skipAll(`${'{"a":'.repeat(64)}1${"}".repeat(64)}`) !== undefined, true);
    assert.equal(skipAll(`${'{"a":'.repeat(65)}1${"}".repeat(65)}`), undefined);
  });

  test("takes numbers of 400 characters and refuses 401", () => {
    assert.equal(skipAll("1".repeat(400)), "1".repeat(400));
    assert.equal(skipAll("1".repeat(401)), undefined);
    assert.equal(skipAll("1".repeat(10_000_000)), undefined);
  });
});

test("JsonScanner.string() agrees with JSON.parse(), less lone surrogates", () => {
  const part = fc.constantFrom(
    '\\"',
    "\\\\",
    "\\/",
    "\\b",
    "\\f",
    "\\n",
    "\\r",
    "\\t",
    "\\x",
    "\\",
    "\\u004",
    "é",
    "a",
  );
  const unit = fc.nat(0xffff).map((code) => `\\u${code.toString(16).padStart(4, "0")}`);
  const body = fc.array(fc.oneof(part, unit, fc.string({ unit: "binary", maxLength: 2 })), { maxLength: 6 });
  fc.assert(
    fc.property(body, (parts) => {
      const text = `"${parts.join("")}"`;
      let expected: unknown;
      try {
        expected = JSON.parse(text);
      } catch {
        // undefined
      }
      if (typeof expected === "string" && /\p{Cs}/u.test(expected) && text.includes("\\"))
        expected = undefined;
      let actual: string | undefined;
      try {
        const scanner = new JsonScanner(text);
        actual = scanner.string();
        scanner.end();
      } catch (error) {
        assert.ok(error instanceof JsonFault);
        actual = undefined;
      }
      assert.equal(actual, expected, text);
    }),
    { ...SEED, numRuns: 20_000 },
  );
});

test("JsonScanner.integer() takes 0 to 2^53 - 1 in plain digits and nothing else", () => {
  const read = (text: string) => {
    const scanner = new JsonScanner(text);
    const value = scanner.integer("size", "x");
    scanner.end();
    return value;
  };
  for (const value of [0, 1, 9, 10, 4294967295, 4294967296, 2 ** 53 - 1])
    assert.equal(read(` ${value} `), value);
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 54n }), (value) => {
      const text = String(value);
      if (value < 2n ** 53n) assert.equal(read(text), Number(value));
      else assert.throws(() => read(text), JsonFault);
    }),
    SEED,
  );
  assert.throws(() => read("1e400"), {
    message: 'found size 1e400 of "x", wanted a whole number from 0 to 2^53 - 1',
  });
  assert.throws(() => read("\u001b[2J"), { message: /found size \\u001b\[2J of "x"/ });
});

test("scanJson() names the file and where the fault is", () => {
  const scan = (text: string) =>
    scanJson(new TextEncoder().encode(text), { file: "x\u0007.json", code: "some-code" }, (scanner) =>
      scanner.skip(),
    );
  assert.equal(scan(' {"é":1}\n'), ' {"é":1}\n');
  assert.throws(() => scan('{"é":}'), {
    name: "CheckpointError",
    code: "some-code",
    message: 'Cannot read "x\\u0007.json": found "}", wanted a value (at character 5)',
  });
  const bytes = Uint8Array.of(0x22, 0x80, 0x22);
  assert.throws(() => scanJson(bytes, { file: "x", code: "c" }, () => {}), CheckpointError);
});
