/** What the server offers, as OpenAPI 3.1: bodies by the very schemas that requests are checked with. */
import { z } from "zod";
import { VERSION } from "../base/version.ts";
import { ChatBody } from "./chat-request.ts";
import { CompletionBody } from "./completion-request.ts";

const schemaOf = (schema: z.ZodType) => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, {
    io: "input",
    target: "draft-2020-12",
    unrepresentable: "any",
  });
  return rest;
};

const json = (description: string, schema: object = { type: "object" }) => ({
  description,
  content: { "application/json": { schema } },
});

const ERRORS = {
  "400": json("The request is wrong", { $ref: "#/components/schemas/Error" }),
  "401": json("There is no key, or a wrong one", { $ref: "#/components/schemas/Error" }),
  "404": json("There is no such model", { $ref: "#/components/schemas/Error" }),
  "429": json("The queue is full; Retry-After says when to come again", {
    $ref: "#/components/schemas/Error",
  }),
  "503": json("There is no memory for the model, or the server is going down", {
    $ref: "#/components/schemas/Error",
  }),
  "504": json("The answer took too long", { $ref: "#/components/schemas/Error" }),
};

const post = (summary: string, schema: z.ZodType) => ({
  post: {
    summary,
    requestBody: { required: true, content: { "application/json": { schema: schemaOf(schema) } } },
    responses: {
      "200": {
        description: "The answer; with stream: true as server-sent events that end with [DONE]",
        content: {
          "application/json": { schema: { type: "object" } },
          "text/event-stream": { schema: { type: "string" } },
        },
      },
      ...ERRORS,
    },
  },
});

const get = (summary: string, response: object) => ({ get: { summary, responses: { "200": response } } });

export function openApi(more: Record<string, object> = {}): object {
  return {
    openapi: "3.1.0",
    info: { title: "Chimera", version: VERSION, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    security: [{ key: [] }, {}],
    paths: {
      "/v1/models": get("The models that are served", json("A list of models")),
      "/v1/models/{id}": {
        get: {
          summary: "One of them",
          parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
          responses: { "200": json("A model"), "404": ERRORS["404"] },
        },
      },
      "/v1/chat/completions": post("Answers a conversation", ChatBody),
      "/v1/completions": post(
        "Goes on behind a text, or tells how likely it is (echo, logprobs)",
        CompletionBody,
      ),
      "/openapi.json": get("This description", json("OpenAPI 3.1")),
      "/health": get("Whether the server answers, and which models are loaded", json("Its state")),
      "/metrics": get("Counters for Prometheus", {
        description: "Text",
        content: { "text/plain": { schema: { type: "string" } } },
      }),
      ...more,
    },
    components: {
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
      schemas: {
        Error: {
          type: "object",
          required: ["error"],
          properties: {
            error: {
              type: "object",
              required: ["message", "type", "param", "code"],
              properties: {
                message: { type: "string" },
                type: { type: "string" },
                param: { type: ["string", "null"] },
                code: { type: ["string", "null"] },
                note: { type: "string" },
              },
            },
          },
        },
      },
    },
  };
}
