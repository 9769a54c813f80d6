import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { editJsonText } from "../../src/build/json-text.ts";

describe("editJsonText()", () => {
  const TEXT = '{\n  "a": 1e-06,\n  "b": [1, {"c": 10000.0}],\n  "d": "x"\n}\n';

  test("changes a value, removes and appends entries, and leaves the rest as it was written", () => {
    const edit = (entries: [string, string | undefined][]) => editJsonText(TEXT, new Map(entries));
    assert.equal(edit([]), TEXT);
    assert.equal(edit([["d", '"y"']]), TEXT.replace('"x"', '"y"'));
    assert.equal(edit([["a", undefined]]), '{\n  "b": [1, {"c": 10000.0}],\n  "d": "x"\n}\n');
    assert.equal(edit([["d", undefined]]), '{\n  "a": 1e-06,\n  "b": [1, {"c": 10000.0}]\n}\n');
    assert.equal(edit([["b", undefined]]), '{\n  "a": 1e-06,\n  "d": "x"\n}\n');
    assert.equal(edit([["e", "5"]]), TEXT.replace('"x"\n', '"x",\n  "e": 5\n'));
    assert.equal(edit([["missing", undefined]]), TEXT);
    assert.equal(
      edit([
        ["a", undefined],
        ["b", undefined],
        ["d", undefined],
      ]),
      "{\n}\n",
    );
    assert.equal(
      edit([
        ["a", undefined],
        ["b", undefined],
        ["d", undefined],
        ["e", "5"],
      ]),
      '{\n  "e": 5\n}\n',
    );
  });

  test("takes texts on one line, empty objects and odd spaces", () => {
    assert.equal(editJsonText("{}", new Map([["a", "1"]])), '{ "a": 1}');
    assert.equal(editJsonText('{"a":1}', new Map([["a", "2"]])), '{"a":2}');
    assert.equal(editJsonText('{"a":1 , "b" : 2 }', new Map([["a", undefined]])), '{ "b" : 2 }');
    assert.equal(editJsonText('  {"}":"{", "b":"\\""}', new Map([["b", "0"]])), '  {"}":"{", "b":0}');
  });

  test("does to the text what the same edits do to the value", () => {
    const keys = fc.constantFrom("a", "b", "c", "d", 'key with "quotes"', "é");
    const values = fc.dictionary(keys, fc.jsonValue({ maxDepth: 2 }));
    const edits = fc.array(fc.tuple(keys, fc.option(fc.jsonValue({ maxDepth: 1 }), { nil: undefined })), {
      maxLength: 4,
    });
    fc.assert(
      fc.property(values, edits, fc.constantFrom(0, 2, "\t"), (value, list, indent) => {
        const wanted = new Map(Object.entries(value));
        for (const [key, to] of new Map(list)) {
          if (to === undefined) wanted.delete(key);
          else wanted.set(key, to);
        }
        const texts = new Map(
          [...new Map(list)].map(([key, to]) => [key, to === undefined ? undefined : JSON.stringify(to)]),
        );
        const edited = JSON.parse(editJsonText(JSON.stringify(value, null, indent), texts));
        assert.deepEqual(
          Object.entries(edited),
          [...wanted].map(([key, to]) => [key, JSON.parse(JSON.stringify(to))]),
        );
      }),
      { seed: 5, numRuns: 300 },
    );
  });
});
