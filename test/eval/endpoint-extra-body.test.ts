/** What requests say besides, for servers that want more than the protocol, or less. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { QUESTION, withServer } from "./with-server.ts";

test("extraBody is said besides, in place of what is said else, or takes it away; and is part of the identity", async () => {
  await withServer({ says: { content: "Four." } }, async (server, open) => {
    const extraBody = {
      chat_template_kwargs: { thinking: true },
      max_tokens: null,
      max_completion_tokens: 9,
      seed: 7,
    };
    const target = await open({ extraBody });
    await target.answer(QUESTION);
    const { body } = server.log.at(-1)!;
    assert.deepEqual(
      [body.chat_template_kwargs, body.max_completion_tokens, body.seed],
      [{ thinking: true }, 9, 7],
    );
    assert.equal("max_tokens" in body, false);
    assert.deepEqual((target.identity as { extraBody: unknown }).extraBody, extraBody);
    assert.equal("extraBody" in (await open()).identity, false);
  });
});
