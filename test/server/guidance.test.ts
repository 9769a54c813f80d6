/** What an answer is held to, token by token: JSON, calls, traces before them. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { TokenGuide } from "../../src/runtime/batch-answer.ts";
import { ApiError } from "../../src/server/api-error.ts";
import type { ChatRequest } from "../../src/server/chat-request.ts";
import { createGuide, type Guidance, guidanceOf } from "../../src/server/guidance.ts";
import type { LoadedModel } from "../../src/server/served-model.ts";
import { gatherOutput } from "../../src/text/output-events.ts";
import { OutputReader } from "../../src/text/output-reader.ts";
import type { Tokenizer } from "../../src/text/tokenizer.ts";
import { TOOL_MARKERS, type ToolGrammar } from "../../src/text/tool-grammar.ts";
import { type RunningServer, startServed } from "../support/served.ts";

const LIMIT = {
  type: "object",
  properties: { limit: { type: "integer", minimum: 0, maximum: 9 } },
  required: ["limit"],
  additionalProperties: false,
};
const tool = (name: string, more: object = {}) => ({
  ...{ type: "function" as const, function: { name, parameters: LIMIT, ...more } },
});
const FIND = tool("find");
const STRICT = tool("find", { strict: true });

let run: RunningServer;
let loaded: LoadedModel;
let tokenizer: Tokenizer;
before(async () => {
  run = await startServed({ places: ["models/mini-r1"] });
  loaded = await run.serving.models.use("mini-r1", { count: 1 }, async (model) => model);
  tokenizer = loaded.text.tokenizer;
  THINKS[tokenizer.idOf("<think>")!] = 1;
  ANSWERS[tokenizer.encode("Hi")[0]!] = 1;
});
after(() => run.close());

interface Wish extends Partial<ChatRequest> {
  toolGrammar?: ToolGrammar;
  format?: "deepseek" | "none" | "deepseek-legacy";
}

function guidance({ toolGrammar = "v3", format = "deepseek", ...request }: Wish): Guidance | undefined {
  const { tools } = request;
  const whole = { model: "m", messages: [], ...request };
  return guidanceOf(whole, { tools: tools ?? undefined, toolGrammar, reasoningFormat: format });
}

const guide = (wish: Wish, prompt = "") => createGuide(loaded, guidance(wish)!, prompt);

/** Of a model that wants to think first; of one that does not. */
const THINKS = new Float32Array(640);
const ANSWERS = new Float32Array(640);

const isAllowed = (it: TokenGuide, id: number, wants: Float32Array = THINKS): boolean => {
  const mask = it.allowed(wants);
  return mask === undefined || (mask[id >>> 5]! & (1 << (id & 31))) !== 0;
};

/** Feeds a text; fails where it is not allowed. */
function feed(it: TokenGuide, text: string): void {
  for (const id of tokenizer.encode(text)) {
    assert.ok(isAllowed(it, id), `${JSON.stringify(tokenizer.decode([id]))} of ${text}`);
    it.accept(id);
  }
}

/** Whether a text may come, up to where it may not. */
function allowedPart(it: TokenGuide, text: string): string {
  const ids = tokenizer.encode(text);
  for (const [i, id] of ids.entries()) {
    if (!isAllowed(it, id)) return tokenizer.decode(ids.slice(0, i));
    it.accept(id);
  }
  return text;
}

const canEnd = (it: TokenGuide): boolean => tokenizer.eos.some((id) => isAllowed(it, id));

/** Draws among what is allowed, evenly, until the end. */
function walk(it: TokenGuide, seed: number): number[] {
  const drawn: number[] = [];
  let state = seed;
  while (drawn.length < 3000) {
    const mask = it.allowed(ANSWERS);
    const ids = Array.from({ length: 640 }, (_, id) => id).filter(
      (id) => tokenizer.hasToken(id) && (mask === undefined || (mask[id >>> 5]! & (1 << (id & 31))) !== 0),
    );
    assert.ok(ids.length > 0, "something may always come");
    const end = ids.find((id) => tokenizer.eos.includes(id));
    if (end !== undefined) return drawn;
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const id = ids[(state >>> 8) % ids.length]!;
    drawn.push(id);
    it.accept(id);
  }
  throw new Error("a walk without an end");
}

describe("JSON", () => {
  const wish: Wish = { response_format: { type: "json_object" } };

  test("an object and nothing else, at once or behind a trace", () => {
    const it = guide(wish);
    assert.ok(!canEnd(it));
    feed(it, '{"a": [1, {"b": null}]}');
    assert.ok(canEnd(it));
    assert.equal(allowedPart(guide(wish), "[1]"), "");
    assert.equal(allowedPart(guide(wish), "Sure: {}"), "");
    const thinking = guide(wish);
    feed(thinking, "<think>\nwhat is {17 + 25?");
    assert.ok(!canEnd(thinking), "a trace does not end the answer");
    feed(thinking, '</think>{"a": 1}');
    assert.ok(canEnd(thinking));
  });

  test("a model that does not want to think is not made to", () => {
    const think = tokenizer.idOf("<think>")!;
    assert.ok(isAllowed(guide(wish), think, THINKS));
    assert.ok(!isAllowed(guide(wish), think, ANSWERS));
  });

  test("a trace that the prompt begins is gone on with", () => {
    const it = guide(wish, "<｜Assistant｜><think>\n");
    feed(it, "anything");
    assert.ok(!canEnd(it));
    feed(it, "</think>{}");
    assert.ok(canEnd(it));
  });

  test("no trace where it would stand in the content, and none after the beginning", () => {
    for (const format of ["none", "deepseek-legacy"] as const)
      assert.equal(allowedPart(guide({ ...wish, format }), "<think>"), "");
    assert.equal(allowedPart(guide(wish), "{<think>"), "{");
    assert.equal(allowedPart(guide(wish), "<think>a</think><think>"), "<think>a</think>");
  });
});

for (const toolGrammar of ["v3", "v3.1"] as const)
  describe(`calls in the format of ${toolGrammar}`, () => {
    const { callsBegin, callBegin, separator, callEnd, callsEnd } = TOOL_MARKERS;
    const call = (name: string, text: string) =>
      toolGrammar === "v3.1"
        ? `${callBegin}${name}${separator}${text}${callEnd}`
        : `${callBegin}function${separator}${name}\n\`\`\`json\n${text}\n\`\`\`${callEnd}`;
    const between = toolGrammar === "v3.1" ? "" : "\n";

    test("required: whatever is drawn, the parser reads calls with valid arguments", () => {
      for (let seed = 1; seed <= 6; seed++) {
        const it = guide({
          toolGrammar,
          tools: [FIND, tool("wipe")],
          tool_choice: "required",
          format: "none",
        });
        const reader = new OutputReader(tokenizer, { toolGrammar });
        const events = walk(it, seed).flatMap((id) => reader.push(id));
        const { toolCalls, content } = gatherOutput([...events, ...reader.finish("stop")]);
        assert.equal(content, "");
        assert.ok(toolCalls.length >= 1 && toolCalls.length <= 16);
        for (const { name, arguments: text, complete } of toolCalls) {
          assert.ok(complete && (name === "find" || name === "wipe"), name);
          const { limit, ...rest } = JSON.parse(text);
          assert.ok(
            Number.isInteger(limit) && limit >= 0 && limit <= 9 && Object.keys(rest).length === 0,
            text,
          );
        }
      }
    });

    test("required: several calls up to sixteen, one where they may not be parallel", () => {
      const wish: Wish = { toolGrammar, tools: [FIND], tool_choice: "required" };
      const one = call("find", '{"limit": 3}');
      const many = guide(wish);
      feed(many, callsBegin + Array(16).fill(one).join(between));
      assert.ok(!canEnd(many));
      assert.ok(!allowedPart(many, between + callBegin).endsWith(callBegin), "not a seventeenth");
      const single = guide({ ...wish, parallel_tool_calls: false });
      feed(single, callsBegin + one);
      const next = between + callBegin;
      const second = guide({ ...wish, parallel_tool_calls: false });
      feed(second, callsBegin + one);
      assert.ok(allowedPart(second, next).length < next.length, "not a second");
      feed(single, callsEnd);
      assert.ok(canEnd(single));
    });

    test("a named function is the only one", () => {
      const named: Wish = {
        ...{ toolGrammar, tools: [FIND, tool("wipe")] },
        tool_choice: { type: "function", function: { name: "wipe" } },
      };
      feed(guide(named), `${callsBegin}${call("wipe", '{"limit": 0}')}${callsEnd}`);
      const other = `${callsBegin}${call("find", '{"limit": 0}')}`;
      assert.ok(allowedPart(guide(named), other).length < other.length);
    });

    test("auto with a strict function: free until a call begins, then held to its schema", () => {
      const wish: Wish = { toolGrammar, tools: [STRICT], tool_choice: "auto" };
      const free = guide(wish);
      assert.equal(free.allowed(ANSWERS), undefined);
      feed(free, 'It is 42. {"limit": "any"} <｜tool');
      assert.ok(canEnd(free));
      feed(free, callsBegin);
      assert.ok(!canEnd(free), "a call has begun");
      feed(free, call("find", '{"limit": 7}'));
      feed(free, callsEnd);
      assert.ok(canEnd(free));
      const held = guide(wish);
      feed(held, callsBegin);
      const wrong = call("find", '{"limit": "many"}');
      assert.ok(allowedPart(held, wrong).endsWith('"limit": '));
      const thinking = guide(wish, "<think>\n");
      feed(thinking, `about ${callsBegin} as such </think>no`);
      assert.ok(canEnd(thinking), "in a trace it is only thought of");
    });

    test("auto without a strict function, and none: nothing is held", () => {
      assert.equal(guidance({ toolGrammar, tools: [FIND] }), undefined);
      assert.equal(guidance({ toolGrammar, tools: [FIND], tool_choice: "auto" }), undefined);
      assert.equal(guidance({ toolGrammar }), undefined);
      assert.equal(guidance({ toolGrammar, response_format: { type: "text" } }), undefined);
    });

    test("a schema that cannot be followed: advice where a function is not strict, refused where it is", () => {
      const parameters = { type: "object", not: { type: "null" } };
      const loose: Wish = { toolGrammar, tools: [tool("f", { parameters })], tool_choice: "required" };
      feed(guide(loose), `${callsBegin}${call("f", '{"any": [1]}')}${callsEnd}`);
      const strict: Wish = { ...loose, tools: [tool("f", { parameters, strict: true })] };
      assert.throws(
        () => guide(strict),
        (error) => error instanceof ApiError && error.status === 400 && error.details.param === "tools",
      );
    });
  });

test("grammars are kept ready, the latest sixteen", () => {
  const wish = (maximum: number): Wish => {
    const schema = { type: "integer", minimum: 0, maximum };
    return { response_format: { type: "json_schema", json_schema: { name: "n", schema } } };
  };
  for (let maximum = 1; maximum <= 40; maximum++) {
    const it = guide(wish(maximum));
    feed(it, String(maximum));
    assert.ok(canEnd(it));
    assert.ok(allowedPart(guide(wish(maximum)), String(maximum + 1)).length < String(maximum + 1).length);
  }
});
