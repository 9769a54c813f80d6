/** Chat templates: what they render, and how a broken or endless one is told. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { CheckpointError, Interrupted } from "../../src/base/errors.ts";
import { openStore } from "../../src/checkpoint/stores.ts";
import {
  type ChatMessage,
  ChatTemplate,
  loadChatTemplate,
  type RenderOptions,
  type TemplateLimits,
} from "../../src/text/chat-template.ts";
import { filesOf } from "./deepseek-tokenizer.ts";
import { R1, V3, V31 } from "./templates.ts";

const [B, E, U, A] = ["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"];
const TOKENS = { bosToken: B, eosToken: E };

const open: ChatTemplate[] = [];
after(() => Promise.all(open.map((template) => template.close())));

function templateOf(text: string, limits?: TemplateLimits): ChatTemplate {
  const template = new ChatTemplate(new Map([["default", { origin: "chat_template.jinja", text }]]), limits);
  open.push(template);
  return template;
}

const [v3, r1, v31] = [templateOf(V3), templateOf(R1), templateOf(V31)];
const render = (template: ChatTemplate, messages: ChatMessage[], options: RenderOptions = {}) =>
  template.render(messages, { ...TOKENS, ...options });

const TURNS: ChatMessage[] = [
  { role: "system", content: "S" },
  { role: "user", content: "hi" },
  { role: "assistant", content: "<think>x</think>yo" },
  { role: "user", content: "again" },
];

test("R1: the vector of model.md section 14", async () => {
  assert.equal(await render(r1, TURNS), `${B}S${U}hi${A}yo${E}${U}again${A}<think>\n`);
});

test("V3 leaves past answers unchanged and opens no trace", async () => {
  assert.equal(await render(v3, TURNS), `${B}S${U}hi${A}<think>x</think>yo${E}${U}again${A}`);
});

test("V3.1 thinks on demand: variables reach the template", async () => {
  const turns = `${B}S${U}hi${A}</think>yo${E}${U}again${A}`;
  assert.equal(await render(v31, TURNS), `${turns}</think>`);
  assert.equal(await render(v31, TURNS, { variables: { thinking: true } }), `${turns}<think>`);
});

test("system texts come first, joined by a blank line", async () => {
  const messages = [TURNS[0]!, TURNS[1]!, { role: "system", content: "T" }];
  assert.equal(await render(r1, messages), `${B}S\n\nT${U}hi${A}<think>\n`);
});

test("without a generation prompt the text ends with the last turn", async () => {
  const options = { addGenerationPrompt: false };
  assert.equal(await render(r1, TURNS.slice(0, 3), options), `${B}S${U}hi${A}yo${E}`);
});

const call = (name: string, args: string) => ({ type: "function", function: { name, arguments: args } });
const TOOLS: ChatMessage[] = [
  { role: "user", content: "sum" },
  { role: "assistant", tool_calls: [call("f", '{"a": 1}'), call("g", "{}")] },
  { role: "tool", content: "1" },
  { role: "tool", content: "2" },
];
const FENCE = "```";

test("V3 and R1 write tool calls with type and fence, and answer results without a tag", async () => {
  const calls =
    `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n${FENCE}json\n{"a": 1}\n${FENCE}<｜tool▁call▁end｜>\n` +
    `<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n${FENCE}json\n{}\n${FENCE}<｜tool▁call▁end｜><｜tool▁calls▁end｜>${E}`;
  const results =
    "<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>1<｜tool▁output▁end｜>\n" +
    "<｜tool▁output▁begin｜>2<｜tool▁output▁end｜><｜tool▁outputs▁end｜>";
  const turn = `${U}sum${A}${calls}${results}`;
  for (const template of [v3, r1]) assert.equal(await render(template, TOOLS), `${B}${turn}`);
  const twice = [...TOOLS, { role: "assistant", content: "3" }, ...TOOLS];
  assert.equal(await render(r1, twice), `${B}${turn}3${E}${turn}`);
});

test("V3.1 writes tool calls by name, without type, fence or separators", async () => {
  const calls =
    '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜>' +
    `<｜tool▁call▁begin｜>g<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>${E}`;
  const results =
    "<｜tool▁output▁begin｜>1<｜tool▁output▁end｜><｜tool▁output▁begin｜>2<｜tool▁output▁end｜>";
  assert.equal(await render(v31, TOOLS), `${B}${U}sum${A}</think>${calls}${results}`);
});

test("the grammar of tool calls is read from the template", () => {
  assert.deepEqual(
    [v3, r1, v31, templateOf("{{ bos_token }}")].map(({ toolGrammar }) => toolGrammar),
    ["v3", "v3", "v3.1", "none"],
  );
  const shown = "Call as <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>NAME …";
  assert.equal(templateOf(shown).toolGrammar, "v3");
});

test("the small models' templates render", async () => {
  const template = await loadChatTemplate(openStore("models/mini-r1"));
  open.push(template);
  assert.equal(await render(template, TURNS), `${B}S${U}hi${A}yo${E}${U}again${A}`);
  assert.equal(template.toolGrammar, "none");
});

const file = "chat_template.jinja";
const named = [
  { name: "tool_use", template: "tools {{ tools | length }}" },
  { name: "default", template: "plain" },
];

test("chat_template.jinja wins; of named templates the default one, tool_use with tools", async () => {
  const from = async (contents: Parameters<typeof filesOf>[0], tools?: unknown[]) => {
    const template = await loadChatTemplate(filesOf(contents));
    open.push(template);
    return template.render([], { tools });
  };
  const both = { [file]: "jinja", "tokenizer_config.json": { chat_template: "config" } };
  assert.equal(await from(both), "jinja");
  assert.equal(await from({ "tokenizer_config.json": { chat_template: "config" } }), "config");
  const list = { "tokenizer_config.json": { chat_template: named } };
  assert.equal(await from(list), "plain");
  assert.equal(await from(list, []), "plain");
  assert.equal(await from(list, [{}]), "tools 1");
  const one = { "tokenizer_config.json": { chat_template: named.slice(1) } };
  assert.equal(await from(one, [{}]), "plain");
});

test("loadChatTemplate() refuses what is no template, and says --raw when there is none", async () => {
  const config = (chat_template: unknown) => filesOf({ "tokenizer_config.json": { chat_template } });
  const cases: [Parameters<typeof loadChatTemplate>[0], RegExp][] = [
    [filesOf({}), /Cannot find a chat template: there is no chat_template.jinja, and no chat_template in/],
    [config(null), /Cannot find a chat template/],
    [config([]), /Cannot find a chat template/],
    [config(5), /chat_template is neither a text nor a list/],
    [config([{ name: "a" }]), /entry 0 of chat_template has no name and template/],
    [config("x".repeat(1_000_001)), /has 1000001 characters, wanted at most 1000000/],
    [filesOf({ "tokenizer_config.json": "{" }), /Cannot read "tokenizer_config.json": it is not valid JSON/],
  ];
  for (const [files, message] of cases) {
    await assert.rejects(loadChatTemplate(files), (error) => {
      assert.ok(error instanceof CheckpointError);
      assert.match(error.message, message);
      if (!/JSON/.test(error.message)) assert.match(error.note ?? "", /--raw/);
      return true;
    });
  }
});

test("a list without a default one is an error once it is needed", async () => {
  const pair = named.map((entry, index) => ({ ...entry, name: ["a", "b"][index]! }));
  const template = await loadChatTemplate(filesOf({ "tokenizer_config.json": { chat_template: pair } }));
  await assert.rejects(
    template.render([]),
    /chat_template has "a", "b", wanted one that is called "default"/,
  );
});

const MISSING_PERCENT = `{% for tool in tools %}
  {% set tool_json = tool | tojson}
  {{ tool_json }}
{% endfor %}`;

/** What is wrong, the template, the code, the message from the place on. */
const BROKEN: [what: string, template: string, code: string, message: string][] = [
  [
    "a missing %",
    MISSING_PERCENT,
    "template-syntax",
    '2:35": found "}", wanted closing statement token, in «{% set tool_json = tool | tojson}»',
  ],
  [
    "an unknown statement",
    "a\n{% frob %}",
    "template-syntax",
    '2:4": found "frob": unknown statement type: frob, in «{% frob %}»',
  ],
  [
    "an unclosed block",
    "{% if a %}{% for m in x %}{% endfor %}b",
    "template-syntax",
    '1:1": found "if" without "endif", in «{% if a %}{% for m in x %}{% endfor %}b»',
  ],
  ["an unclosed tag", "a{{ b", "template-syntax", '1:2": found "{{" that is never closed, in «a{{ b»'],
  [
    "an unclosed string",
    "{{ 'a }}",
    "template-syntax",
    `1:4": found a string that is never closed, in «{{ 'a }}»`,
  ],
  ["an unclosed comment", "x\n{# y", "template-syntax", '2:1": found "{#" that is never closed, in «{# y»'],
  [
    "an odd character",
    "{{ a ; b }}",
    "template-syntax",
    '1:6": found ";": unexpected character: ;, in «{{ a ; b }}»',
  ],
  [
    "an unknown filter",
    "a\n b {{ bos_token | frob }}",
    "template-runtime",
    '2:4": Unknown StringValue filter: frob, in «b {{ bos_token | frob }}»',
  ],
  [
    "a call of nothing",
    "{% if true %}{{ frob() }}{% endif %}",
    "template-runtime",
    '1:14": Cannot call something that is not a function: got UndefinedValue, in «{% if true %}{{ frob() }}{% endif %}»',
  ],
  [
    "an error in elif",
    "{% if false %}{% elif 1 + none %}{% endif %}",
    "template-runtime",
    '1:15": Cannot perform operation on null values, in «{% if false %}{% elif 1 + none %}{% endif %}»',
  ],
  [
    "an error after break",
    "{% for i in [1, 2] %}{% break %}{% endfor %}\n{{ 1 + none }}",
    "template-runtime",
    '2:1": Cannot perform operation on null values, in «{{ 1 + none }}»',
  ],
  [
    "an error in a macro",
    "{% macro m(a) -%}\n{{ a + none }}{% endmacro %}{{ m(1) }}",
    "template-runtime",
    '2:1": Cannot perform operation on null values, in «{{ a + none }}{% endmacro %}{{ m(1) }}»',
  ],
  [
    "a refusal",
    "{% if not messages %}{{ raise_exception('No messages') }}{% endif %}",
    "template-refused",
    `1:22": the template refuses the messages: No messages, in «{% if not messages %}{{ raise_exception('No messages') }}{% endif %}»`,
  ],
  [
    "a long range",
    "{% for i in range(10000000) %}{% endfor %}",
    "template-runtime",
    '1:1": range() of 10000000 numbers, wanted at most 1000000, in «{% for i in range(10000000) %}{% endfor %}»',
  ],
  [
    "recursion without end",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "template-runtime",
    '1:16": calls and expressions nested deeper than 1000, in «{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}»',
  ],
];

for (const [what, text, code, message] of BROKEN) {
  test(`render() shows the place of ${what}`, async () => {
    await assert.rejects(render(templateOf(text), [], { tools: [{}] }), (error) => {
      assert.ok(error instanceof CheckpointError);
      const act = code === "template-syntax" ? "parse" : "render";
      assert.equal(error.message, `Cannot ${act} chat template "chat_template.jinja:${message}`);
      assert.equal(error.code, code);
      return true;
    });
  });
}

test("a place in a template of one long line shows what stands round it", async () => {
  const text = `${"{{ bos_token }}".repeat(200)}{{ 1 + none }}${"{{ bos_token }}".repeat(200)}`;
  await assert.rejects(render(templateOf(text), []), (error: Error) => {
    assert.match(error.message, /jinja:1:3001": .*, in «….{40,60}\{\{ 1 \+ none \}\}.{30,60}…»$/);
    return true;
  });
});

test("endless templates are stopped, and the next conversation renders again", async () => {
  const loops = "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}";
  const template = templateOf(`{% if messages %}${loops}{% endif %}ok`, { timeMs: 400 });
  const user = [{ role: "user", content: "" }];
  await assert.rejects(
    template.render(user),
    /Cannot render chat template .*: it ran for 400 ms, wanted less/,
  );
  assert.equal(await template.render([]), "ok");
});

test("output that grows without end is stopped", async () => {
  const doubling =
    "{% set x = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set x.s = x.s + x.s %}{% endfor %}{{ x.s }}";
  await assert.rejects(templateOf(doubling).render([]), (error) => {
    assert.ok(error instanceof CheckpointError);
    assert.equal(error.code, "template-too-long");
    assert.match(error.message, /it has more than 16000000 characters/);
    return true;
  });
  const lists = "{% set x = namespace(s=[1]) %}{% for i in range(60) %}{% set x.s = x.s + x.s %}{% endfor %}";
  await assert.rejects(templateOf(lists, { timeMs: 20_000 }).render([]), (error) => {
    assert.ok(error instanceof CheckpointError);
    assert.match(error.code, /^template-(died|runtime)$/); // out of memory, or an array that is too long
    return true;
  });
});

test("an AbortSignal ends a rendering", async () => {
  const template = templateOf(
    "{% for i in range(1000000) %}{% for j in range(1000000) %}{% endfor %}{% endfor %}",
  );
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 50);
  await assert.rejects(template.render([], { signal: controller.signal }), Interrupted);
  await assert.rejects(template.render([], { signal: AbortSignal.abort() }), Interrupted);
});

test("a caller's mistakes are TypeErrors, and rendering goes on after them", async () => {
  const template = templateOf("{{ x }}");
  const variables = (value: Record<string, unknown>) => template.render([], { variables: value });
  await assert.rejects(
    variables({ range: 1 }),
    /Cannot give the chat template a variable "range": it has one/,
  );
  await assert.rejects(variables({ messages: [] }), TypeError);
  await assert.rejects(variables({ x: () => 1 }), TypeError);
  await assert.rejects(template.render([{} as ChatMessage]), /Cannot render message 0: it has no role/);
  assert.equal(await variables({ x: "fine" }), "fine");
});

test("renderings that are asked for at once come in order", async () => {
  const template = templateOf("{{ n }}");
  const numbers = Array.from({ length: 20 }, (_, n) => n);
  const texts = await Promise.all(numbers.map((n) => template.render([], { variables: { n } })));
  assert.deepEqual(texts, numbers.map(String));
});

test("the date is the caller's", async () => {
  const now = new Date(2025, 0, 5, 15, 4, 9);
  const text = await templateOf("{{ strftime_now('%A %d %B %Y, %b %y %I:%M:%S %p %H %%') }}").render([], {
    now,
  });
  assert.equal(text, "Sunday 05 January 2025, Jan 25 03:04:09 PM 15 %");
});

test("transformers' generation tag leaves its content", async () => {
  assert.equal(await templateOf("a{% generation %}b{% endgeneration %}c{{ bos_token }}").render([]), "abc");
});
