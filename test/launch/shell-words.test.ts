/** Words for a shell, held to what bash makes of them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import fc from "fast-check";
import { shellCommand, splitWords } from "../../src/launch/shell-words.ts";

/** What bash makes of a text: its words. */
function asBash(text: string): string[] {
  const code = `printf '%s\\0' ${text}`;
  const { stdout, status } = spawnSync("bash", ["-c", code], { encoding: "utf8" });
  assert.equal(status, 0);
  return stdout.split("\0").slice(0, -1);
}

const HOSTILE = [
  "",
  " ",
  "it's",
  '"',
  "$HOME `id` $(id)",
  "a\nb",
  "\\",
  "*",
  "~",
  "#",
  "-n",
  "é 漢",
  "'\\''",
  "!!",
  "a;b&c|d",
];

test("shellCommand() gives bash the very words", () => {
  assert.deepEqual(asBash(shellCommand(HOSTILE)), HOSTILE);
  const words = fc.array(
    fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0")),
    { minLength: 1, maxLength: 8 },
  );
  fc.assert(
    fc.property(words, (list) => assert.deepEqual(asBash(shellCommand(list)), list)),
    { numRuns: 60, seed: 1 },
  );
});

test("shellCommand() refuses what no word can hold", () => {
  assert.throws(() => shellCommand(["a\0b"]), { code: "bad-word" });
});

test("splitWords() splits as bash does, but for variables", () => {
  for (const text of [
    "--account=moe --qos low",
    `--comment="a b" 'c d'\\ e`,
    `"a\\"b" 'x"y'`,
    `''`,
    `a''b "" c`,
    `"\\n\\\\"`,
  ])
    assert.deepEqual(splitWords(text), asBash(text), text);
  assert.deepEqual(splitWords("  "), []);
  assert.deepEqual(splitWords(shellCommand(HOSTILE)), HOSTILE);
  assert.throws(() => splitWords(`--comment="a`), /a quote does not end, wanted its end/);
});
