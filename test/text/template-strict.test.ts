/** The strict dialect of templates: Jinja's own defaults, values as Python prints them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { TemplateFault, TemplateProgram } from "../../src/text/template-program.ts";

const LIMITS = { maxCharacters: 1000, now: 0 };

function render(source: string, variables: Record<string, unknown> = {}): string {
  return new TemplateProgram(source, "strict").render(variables, LIMITS);
}

// Expected texts are those of jinja2 3.1 with StrictUndefined and keep_trailing_newline.
const RENDERED: [source: string, variables: Record<string, unknown>, text: string][] = [
  ["{{ a }}\n", { a: "x" }, "x\n"],
  ["{% if a %}\n  x\n{% endif %}\n", { a: true }, "\n  x\n\n"],
  ["{{ a }} {{ not a }} {{ none }}", { a: true }, "True False None"],
  [
    "{{ a }}",
    { a: ["x", "it's", 'say "it\'s"', 1, null, [], true] },
    "['x', \"it's\", 'say \"it\\'s\"', 1, None, [], True]",
  ],
  ["{{ a }}", { a: { b: ["\n\t\\\u0007"], c: 1.5 } }, "{'b': ['\\n\\t\\\\\\x07'], 'c': 1.5}"],
  ["{{ 4 / 2 }} {{ 1 / 3 }} {{ 0.00001 }}", {}, "2.0 0.3333333333333333 1e-05"],
  ["{{ ['A', 'B'].index(a) }}{{ b.index('y') }}", { a: "B", b: ["x", "y"] }, "11"],
  ["{{ a is defined }} {{ a | default('x') }} {{ b is defined }}", { b: 1 }, "False x True"],
  ["{% for x in a %}{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}", { a: [1, 2] }, "1, 2"],
  ["{% set b = a %}{{ b }}{# c #}{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(1) }}", { a: 7 }, "7<1>"],
];

for (const [source, variables, text] of RENDERED) {
  test(`TemplateProgram in the strict dialect renders ${JSON.stringify(source)} as Python does`, () => {
    assert.equal(render(source, variables), text);
  });
}

test("TemplateProgram in the strict dialect refuses what is not there", () => {
  for (const source of [
    "{{ b }}",
    "{{ a.b }}",
    "{{ a['b'] }}",
    "{% if b %}{% endif %}",
    "{{ b ~ 'x' }}",
    "{{ ['A'].index(a) }}",
    "{{ 'x' if false }}",
    "{{ a.get }}",
  ]) {
    assert.throws(() => render(source, { a: {} }), TemplateFault, source);
  }
});

test("TemplateProgram in the chat dialect stays as it is", () => {
  const chat = (source: string) => new TemplateProgram(source).render({ a: ["x"] }, LIMITS);
  assert.equal(chat("{% if a %}\n  x\n{% endif %}\n{{ b }}{{ none }}"), "  x\n");
  assert.equal(chat("{{ a }}"), '["x"]');
});
