import assert from "node:assert/strict";
import { test } from "node:test";
import { type GenerationPrompt, generationPromptOf } from "../../src/survey/chat-template.ts";

const A = "<｜Assistant｜>";
const turns = `{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '<｜User｜>' + m.content }}{% endif %}{% endfor %}`;

const CASES: [what: string, template: string, prompt: GenerationPrompt | undefined][] = [
  ["none", turns, undefined],
  [
    "V3",
    `${turns}{% if add_generation_prompt and not ns.is_tool %}{{'${A}'}}{% endif %}`,
    { text: A, suffix: "", opensThink: false },
  ],
  [
    "R1",
    `${turns}{% if add_generation_prompt and not ns.is_tool %}{{'${A}<think>\\n'}}{% endif %}`,
    { text: `${A}<think>\n`, suffix: "<think>\n", opensThink: true },
  ],
  [
    "V3.1, which asks a variable",
    `${turns}{%- if add_generation_prompt and ns.is_last_user %}{{'${A}'}}{%- if not thinking %}{{'</think>'}}{%- else %}{{'<think>'}}{%- endif %}{% endif %}`,
    { text: A, suffix: "", opensThink: "depends" },
  ],
  [
    "a trace that is closed at once",
    `{% if add_generation_prompt %}{{ "${A}<think>" + '\\n</think>' }}{% endif %}`,
    { text: `${A}<think>\n</think>`, suffix: "<think>\n</think>", opensThink: false },
  ],
  [
    "another marker, as text between tags",
    "{%- if add_generation_prompt %}\n    <|im_start|>assistant\n{% endif -%}",
    { text: "    <|im_start|>assistant\n", opensThink: false },
  ],
  [
    "an inline condition",
    `${turns}{{ '<|assistant|>\\n' if add_generation_prompt }}`,
    { text: "<|assistant|>\n", opensThink: false },
  ],
  [
    "the last of several, up to its else",
    `{% if add_generation_prompt is undefined %}{% set add_generation_prompt = false %}{% endif %}{% if add_generation_prompt %}{% set x = 1 %}{{'${A}'}}{% else %}{{'<think>'}}{% endif %}`,
    { text: A, suffix: "", opensThink: false },
  ],
  [
    "tags inside strings and comments",
    `{# add_generation_prompt {{ #}{% if add_generation_prompt %}{{ '{"a": {}}%}' }}{{'${A}'}}{% endif %}`,
    { text: `{"a": {}}%}${A}`, suffix: "", opensThink: false },
  ],
  [
    "a variable in it",
    `{% if add_generation_prompt %}{{'${A}'}}{{ name }}{{'<think>'}}{% endif %}`,
    { text: A, suffix: "", opensThink: "depends" },
  ],
  ["one without an end", `{% if add_generation_prompt %}{{'${A}`, { text: "", opensThink: false }],
];

for (const [what, template, prompt] of CASES) {
  test(`generationPromptOf() reads the prompt of a template: ${what}`, () => {
    assert.deepEqual(generationPromptOf(template), prompt);
  });
}

test("generationPromptOf() takes linear time on hostile templates", { timeout: 5000 }, () => {
  for (const part of ["{{", "{%", "'\\", "{{ '", "{% if add_generation_prompt %}", "{{ 'a' + "]) {
    generationPromptOf(`{% if add_generation_prompt %}${part.repeat(20_000)}`);
  }
});
