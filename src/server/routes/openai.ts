/** The routes of OpenAI's protocol. */
import { Hono } from "hono";
import { ApiError } from "../api-error.ts";
import type { RouteEnvironment } from "../app.ts";
import { chatCompletion } from "../chat.ts";
import { readChatRequest } from "../chat-request.ts";
import { readCompletionRequest } from "../completion-request.ts";
import { completion } from "../completions.ts";
import { readJson } from "../request-body.ts";
import type { ServedModel } from "../served-model.ts";
import type { Serving } from "../serving.ts";

export function openAiRoutes(serving: Serving): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>();

  app.get("/v1/models", ({ json }) => json({ object: "list", data: serving.models.list().map(modelObject) }));
  app.get("/v1/models/:id{.+}", ({ json, req }) => json(modelObject(serving.models.get(req.param("id")))));

  app.post("/v1/chat/completions", async ({ req }) => {
    const request = readChatRequest(await readJson(req.raw));
    if (serving.logsTexts) serving.log.info("prompt", { messages: request.messages });
    return chatCompletion(request, serving, req.raw.signal);
  });
  app.post("/v1/completions", async ({ req }) => {
    const request = readCompletionRequest(await readJson(req.raw));
    if (serving.logsTexts) serving.log.info("prompt", { prompt: request.prompt });
    return completion(request, serving, req.raw.signal);
  });
  app.all("/v1/embeddings", () => {
    const message =
      "Embeddings are not offered: the models here are made to generate, and a hidden state of theirs is no embedding";
    throw new ApiError(501, message, { code: "not_implemented", type: "invalid_request_error" });
  });
  return app;
}

function modelObject({ source: { id, created, kind } }: ServedModel): object {
  return { id, object: "model", created, owned_by: "chimera", kind };
}
