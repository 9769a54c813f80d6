/** A question to a scripted server. */
import assert from "node:assert/strict";
import { EvaluationError } from "../../src/base/errors.ts";
import { type EndpointOptions, openEndpoint } from "../../src/eval/endpoint.ts";
import type { AnswerRequest } from "../../src/eval/target.ts";
import { type OpenAiServer, type ServerOptions, startServer } from "../support/openai-server.ts";

export const QUESTION: AnswerRequest = {
  prompt: { kind: "chat", messages: [{ role: "user", content: "What is 2 + 2?" }] },
  ...{ maxTokens: 20, temperature: 0, topP: 1, seed: 0, stop: [] },
};

/** A server, and targets of it that are closed at the end. */
export async function withServer<T>(
  options: ServerOptions,
  use: (
    server: OpenAiServer,
    open: (more?: Partial<EndpointOptions>) => ReturnType<typeof openEndpoint>,
  ) => Promise<T>,
): Promise<T> {
  const server = await startServer(options);
  const base = { url: server.url, name: "x", model: "mini", retries: 2, retryDelayMs: 1 };
  const targets: Awaited<ReturnType<typeof openEndpoint>>[] = [];
  const open = async (more: Partial<EndpointOptions> = {}) => {
    const target = await openEndpoint({ ...base, ...more });
    targets.push(target);
    return target;
  };
  try {
    return await use(server, open);
  } finally {
    for (const target of targets) await target.close();
    await server.close();
  }
}

/** The error that an evaluation would see. */
export async function errorOf(promise: Promise<unknown>): Promise<EvaluationError> {
  const error = await promise.then(
    () => assert.fail("no error"),
    (error: unknown) => error,
  );
  assert.ok(error instanceof EvaluationError, String(error));
  return error;
}
