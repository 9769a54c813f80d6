/** Where an endpoint is, what of it may be shown, and whose key goes there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { EvaluationError } from "../../src/base/errors.ts";
import { apiKeyFor, parseEndpointUrl } from "../../src/eval/endpoint-url.ts";

test("parseEndpointUrl() adds /v1 where no version stands, and shows no secrets", () => {
  const cases: [string, string][] = [
    ["http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"],
    ["http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"],
    ["http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"],
    ["http://127.0.0.1:8000/v1//", "http://127.0.0.1:8000/v1"],
    ["https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1"],
    ["https://a.example/v1beta/openai/", "https://a.example/v1beta/openai"],
    ["https://a.example/proxy", "https://a.example/proxy/v1"],
    ["https://a.example/v1/chat/completions", "https://a.example/v1"],
    ["https://user:pass%20word@a.example/v1?key=secret#part", "https://a.example/v1"],
    ["http://[::1]:8000", "http://[::1]:8000/v1"],
  ];
  for (const [text, shown] of cases) assert.equal(parseEndpointUrl(text, "x").shown, shown, text);
  const { credentials, query, hostname } = parseEndpointUrl("https://u:p%20w@[::1]/v1?key=secret", "x");
  assert.deepEqual([credentials, query, hostname], ["u:p w", "?key=secret", "::1"]);
});

test("parseEndpointUrl() refuses what is no address, and shows nothing of it", () => {
  for (const text of ["", "127.0.0.1:8000", "ftp://user:secret@a.example", "http://user:secret@", "secret"]) {
    assert.throws(
      () => parseEndpointUrl(text, "x"),
      (error) =>
        error instanceof EvaluationError && error.code === "bad-url" && !/secret/.test(error.message),
      text,
    );
  }
});

test("apiKeyFor() a provider's key goes to that provider over https alone", () => {
  const env = { OPENAI_API_KEY: "o", DEEPSEEK_API_KEY: "d", OPENROUTER_API_KEY: "r" };
  const cases: [string, string | undefined][] = [
    ["https://api.openai.com/v1", "o"],
    ["https://API.OpenAI.com", "o"],
    ["https://api.deepseek.com", "d"],
    ["https://openrouter.ai/api/v1", "r"],
    ["http://api.openai.com/v1", undefined],
    ["https://api.openai.com.evil.example/v1", undefined],
    ["https://evil.example/api.openai.com", undefined],
    ["https://api.openai.com@evil.example/v1", undefined],
    ["http://127.0.0.1:8000", undefined],
    ["no address", undefined],
  ];
  for (const [url, key] of cases) assert.equal(apiKeyFor(url, env), key, url);
  const own = { ...env, CHIMERA_API_KEY: "c" };
  assert.equal(apiKeyFor("http://127.0.0.1:8000", own), "c");
  assert.equal(apiKeyFor("https://api.openai.com/v1", own), "c");
  assert.equal(apiKeyFor("https://api.openai.com/v1", { OPENAI_API_KEY: "" }), undefined);
});
