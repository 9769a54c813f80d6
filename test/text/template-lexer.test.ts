/** Where in a template an error is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { tokenize } from "@huggingface/jinja";
import fc from "fast-check";
import { lexTemplate } from "../../src/text/template-lexer.ts";
import { R1, V3, V31 } from "./templates.ts";

interface Token {
  type: string;
  value: string;
}

/** The library's tokens less its text; undefined when it refuses the template. */
function tokensOf(source: string): Token[] | undefined {
  try {
    const tokens = tokenize(source, { lstrip_blocks: true, trim_blocks: true }) as Token[];
    return tokens.filter(({ type }) => type !== "Text");
  } catch {
    return undefined;
  }
}

function checkAgainstLibrary(source: string): void {
  const tokens = tokensOf(source);
  const { lexemes, stopsAt } = lexTemplate(source);
  if (!tokens) {
    assert.notEqual(stopsAt, undefined, `${source}: only the library refuses it`);
    return;
  }
  assert.equal(lexemes.length, tokens.length, source);
  for (const [index, { text, offset }] of lexemes.entries()) {
    assert.ok(source.startsWith(text, offset));
    const { type, value }: Token = tokens[index]!;
    const isMark = type === "StringLiteral" || type === "Comment";
    if (!isMark) assert.equal(text.replace(/^(\{[%{])-$/, "$1").replace(/^-([%}]\})$/, "$1"), value, source);
  }
}

test("offsets are those of the library's tokens, in real templates", () => {
  for (const template of [
    V3,
    R1,
    V31,
    "{{ a }}{%- generation %}b{% endgeneration -%}{{ c }}",
    "{{ a - 1 }}{{ -1.5 + 1.0 }}{{ x.1.2 }}{{ {'a': {}}}}",
  ])
    checkAgainstLibrary(template);
});

const FRAGMENTS = [
  ..."{{ }} {% %} {{- -}} {%- -%} {# #} {#- -#} { } ( ) [ ] , . : | < <= == = ! - + ~ * ** // % ' \" \\n \\q \\x4g".split(
    " ",
  ),
  ..."if endif set a b1 12 1.5 x.1".split(" "),
  ..."{{a}} {%b%} {{'a'}} {{{}}} ;".split(" "),
  " ",
  "\t", // no line feed: the library drops some before it lexes, which tells only inside broken tags
];

test("offsets are those of the library's tokens, in anything made of Jinja's pieces", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...FRAGMENTS), { maxLength: 14 }), (parts) =>
      checkAgainstLibrary(parts.join("")),
    ),
    { seed: 3, numRuns: 20_000 },
  );
});
