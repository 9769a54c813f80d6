/** Which model is asked, and where a key goes: to the server, and to no message, no JSON, no other server. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import { openEndpoint } from "../../src/eval/endpoint.ts";
import { errorOf, QUESTION, withServer } from "./with-server.ts";

const KEY = "sk-0123456789-geheim";

test("openEndpoint() takes the only model, and lists several", async () => {
  await withServer({ models: ["one"] }, async (server, open) => {
    const { model: _, ...rest } = { url: server.url, name: "x", model: "mini" };
    const target = await openEndpoint(rest);
    assert.deepEqual(target.identity, { kind: "endpoint", url: server.url, model: "one" });
    await target.close();
    assert.deepEqual((await open()).identity, { kind: "endpoint", url: server.url, model: "mini" });
  });
  const cases: [string[], RegExp][] = [
    [["one", "two", "\u001b[2J"], /it has 3: "one", "two", "\\u001b\[2J", wanted one$/],
    [[], /it lists no model, wanted one$/],
  ];
  for (const [models, shown] of cases) {
    await withServer({ models }, async ({ url }) => {
      const error = await errorOf(openEndpoint({ url, name: "x" }));
      assert.equal(error.code, "no-model");
      assert.match(error.message, shown);
    });
  }
});

test("openEndpoint() wants a number of questions at a time", async () => {
  for (const concurrency of [0, -1, 1.5, Number.NaN])
    await assert.rejects(
      openEndpoint({ url: "http://127.0.0.1:1", name: "x", model: "m", concurrency }),
      RangeError,
    );
});

test("openEndpoint() sends a key, which stands in no error, no JSON, no inspection", () =>
  withServer(
    { apiKey: KEY, script: [{ kind: "status", status: 400, body: `{"detail": "You are ${KEY}"}` }] },
    async (server, open) => {
      const url = server.url.replace("http://", "http://user:passwort-geheim@");
      const target = await open({ url: `${url}?token=abfrage-geheim`, apiKey: `${KEY}\n` });
      const errors = [await errorOf(target.answer(QUESTION))];
      assert.equal((await target.answer(QUESTION)).content, "Four.");
      assert.equal(server.log[0]!.authorization, `Bearer ${KEY}`);
      assert.equal(server.log[0]!.url, "/v1/chat/completions?token=abfrage-geheim");
      // The server shows the key that it was given.
      errors.push(await errorOf((await open({ apiKey: `${KEY}-alt` })).answer(QUESTION)));
      assert.match(errors[1]!.message, /401 "Incorrect API key provided: …"/);
      errors.push(await errorOf(openEndpoint({ url, name: "x", apiKey: "geheim\nX-Evil: 1" })));
      assert.equal(errors[2]!.code, "bad-key");
      const all = [target, ...errors].map(
        (value) => `${inspect(value, { depth: 9 })} ${JSON.stringify(value)} ${value}`,
      );
      for (const error of errors) all.push(error.message, error.note ?? "", error.stack ?? "");
      for (const text of all) assert.doesNotMatch(text, /geheim/);
    },
  ));

test("openEndpoint() sends a user and a password as Basic where there is no key", () =>
  withServer({}, async (server, open) => {
    const target = await open({ url: server.url.replace("http://", "http://us%20er:pa:ss@") });
    await target.answer(QUESTION);
    const basic = Buffer.from("us er:pa:ss").toString("base64");
    assert.equal(server.log[0]!.authorization, `Basic ${basic}`);
    assert.deepEqual(target.identity, { kind: "endpoint", url: server.url, model: "mini" });
  }));
test("answer() follows no redirect", async () => {
  await withServer({}, (other) =>
    withServer(
      { script: [{ kind: "status", status: 307, headers: { Location: `${other.url}/chat/completions` } }] },
      async (_, open) => {
        const error = await errorOf((await open({ apiKey: KEY })).answer(QUESTION));
        assert.equal(error.code, "refused");
        assert.match(error.message, /a redirect, which is not followed/);
        assert.equal(other.log.length, 0);
      },
    ),
  );
});
