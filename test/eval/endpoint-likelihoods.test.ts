/** Which tokens of an echo belong to a continuation. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { openEndpoint } from "../../src/eval/endpoint.ts";
import { startServer } from "../support/openai-server.ts";

type Token = [text: string, logprob: number | null, offset?: number];

/** Asks a server that echoes these tokens. */
async function ask(context: string, continuation: string, echoed: Token[]) {
  const logprobs = {
    tokens: echoed.map(([text]) => text),
    token_logprobs: echoed.map(([, logprob]) => logprob),
    ...(echoed[0]?.[2] === undefined ? {} : { text_offset: echoed.map(([, , offset]) => offset) }),
  };
  const server = await startServer({ echoes: { choices: [{ index: 0, text: "", logprobs }] } });
  const target = await openEndpoint({ url: server.url, name: "x", model: "mini", retries: 0 });
  try {
    const [found] = await target.likelihoods!({ context, continuations: [continuation] });
    return [found!.logLikelihood, found!.tokens];
  } finally {
    await target.close();
    await server.close();
  }
}

const CASES: [name: string, context: string, continuation: string, Token[], wanted: number[]][] = [
  [
    "the tokens behind the context",
    "ab",
    "cd",
    [
      ["a", null, 0],
      ["b", -1, 1],
      ["c", -2, 2],
      ["d", -4, 3],
    ],
    [-6, 2],
  ],
  [
    "one over the border",
    "ab",
    "cd",
    [
      ["a", null, 0],
      ["bc", -1, 1],
      ["d", -4, 3],
    ],
    [-5, 2],
  ],
  [
    "what was generated is left out",
    "ab",
    "c",
    [
      ["ab", null, 0],
      ["c", -2, 2],
      ["d", -4, 3],
    ],
    [-2, 1],
  ],
  [
    "a beginning that counts",
    "ab",
    "c",
    [
      ["<s>", null, 0],
      ["ab", -1, 3],
      ["c", -2, 5],
      ["d", -9, 6],
    ],
    [-2, 1],
  ],
  [
    "one that does not",
    "ab",
    "c",
    [
      ["<s>", null, 0],
      ["ab", -1, 0],
      ["c", -2, 2],
    ],
    [-2, 1],
  ],
  [
    "code points, not halves of pairs",
    "🙂🙂",
    "🙂c",
    [
      ["🙂🙂", null, 0],
      ["🙂", -1, 2],
      ["c", -2, 3],
    ],
    [-3, 2],
  ],
  [
    "no context, behind a beginning",
    "",
    "ab",
    [
      ["<s>", null, 0],
      ["a", -1, 3],
      ["b", -2, 4],
    ],
    [-3, 2],
  ],
  [
    "no places",
    "ab",
    "c",
    [
      ["<s>", null],
      ["ab", -1],
      ["c", -2],
      ["d", -9],
    ],
    [-2, 1],
  ],
  [
    "places that are none",
    "ab",
    "c",
    [
      ["ab", null, -1],
      ["c", -2, -1],
      ["d", -9, -1],
    ],
    [-2, 1],
  ],
];

for (const [name, context, continuation, echoed, wanted] of CASES) {
  test(`likelihoods() ${name}`, async () => {
    assert.deepEqual(await ask(context, continuation, echoed), wanted);
  });
}

test("likelihoods() an echo that does not tell enough is an error, never a number", async () => {
  const cases: [string, string, Token[]][] = [
    [
      "",
      "ab",
      [
        ["a", null, 0],
        ["b", -1, 1],
      ],
    ],
    [
      "ab",
      "cd",
      [
        ["ab", null, 0],
        ["c", -1, 2],
      ],
    ],
    ["ab", "c", []],
    ["ab", "c", [["x", -1, 0]]],
    [
      "ab",
      "c",
      [
        ["\ufffd", null],
        ["c", -1],
      ],
    ],
  ];
  for (const [context, continuation, echoed] of cases) {
    await assert.rejects(ask(context, continuation, echoed), {
      name: "EvaluationError",
      code: "no-likelihoods",
    });
  }
  assert.deepEqual(await ask("ab", "", []), [0, 0]);
});
