/** The body of POST /v1/chat/completions: what is understood, and what it means to the engine. */
import { z } from "zod";
import type { ChatMessage } from "../text/chat-template.ts";
import type { ReasoningFormat } from "../text/output-parser.ts";
import { invalid } from "./api-error.ts";
import { parseBody } from "./request-body.ts";
import { SAMPLING_SHAPE, type SamplingBody } from "./sampling-request.ts";

export const MAX_MESSAGES = 2048;
export const MAX_TOOLS = 128;
export const MAX_TOP_LOGPROBS = 20;

type Maybe<T> = T | null | undefined;

export interface TextPart {
  type: "text" | "refusal";
  text?: string | undefined;
  refusal?: string | undefined;
}

export type MessageContent = string | TextPart[];

export interface ChatToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
  index?: number | undefined;
}

export type ChatRequestMessage =
  | { role: "system" | "developer" | "user"; content: MessageContent; name?: Maybe<string> }
  | { role: "tool"; content: MessageContent; tool_call_id: string; name?: Maybe<string> }
  | {
      role: "assistant";
      content?: Maybe<MessageContent>;
      name?: Maybe<string>;
      tool_calls?: Maybe<ChatToolCall[]>;
      reasoning_content?: Maybe<string>;
      reasoning?: Maybe<string>;
    };

export interface ChatTool {
  type: "function";
  function: {
    name: string;
    description?: Maybe<string>;
    parameters?: Maybe<Record<string, unknown>>;
    strict?: Maybe<boolean>;
  };
}

export type ChatToolChoice = "none" | "auto" | "required" | { type: "function"; function: { name: string } };

export type ChatResponseFormat =
  | { type: "text" }
  | { type: "json_object" }
  | {
      type: "json_schema";
      json_schema: {
        name: string;
        description?: Maybe<string>;
        schema: Record<string, unknown>;
        strict?: Maybe<boolean>;
      };
    };

export interface ChatRequest extends SamplingBody {
  messages: ChatRequestMessage[];
  max_completion_tokens?: Maybe<number>;
  tools?: Maybe<ChatTool[]>;
  tool_choice?: Maybe<ChatToolChoice>;
  parallel_tool_calls?: Maybe<boolean>;
  response_format?: Maybe<ChatResponseFormat>;
  logprobs?: Maybe<boolean>;
  top_logprobs?: Maybe<number>;
  reasoning_effort?: Maybe<"none" | "minimal" | "low" | "medium" | "high" | "xhigh">;
  reasoning_format?: Maybe<ReasoningFormat>;
  chat_template_kwargs?: Maybe<Record<string, string | number | boolean | null>>;
}

const TextPart = z.strictObject({
  type: z.enum(["text", "refusal"]),
  text: z.string().optional(),
  refusal: z.string().optional(),
});
const Content = z.union([z.string(), z.array(TextPart)]);

const ToolCall = z.strictObject({
  id: z.string().max(200),
  type: z.literal("function"),
  function: z.strictObject({ name: z.string().max(200), arguments: z.string() }),
  index: z.int().optional(),
});

const Name = z.string().max(200).nullish();
/** lm-evaluation-harness says it of whole messages, up to 0.4.9. */
const Kind = z.literal("text").optional();

const Message = z.discriminatedUnion("role", [
  z.strictObject({ role: z.enum(["system", "developer"]), content: Content, name: Name, type: Kind }),
  z.strictObject({ role: z.literal("user"), content: Content, name: Name, type: Kind }),
  z.strictObject({
    role: z.literal("assistant"),
    content: Content.nullish(),
    name: Name,
    type: Kind,
    tool_calls: z.array(ToolCall).max(MAX_TOOLS).nullish(),
    reasoning_content: z.string().nullish(),
    reasoning: z.string().nullish(),
    refusal: z.string().nullish(),
    // As the official client sends back what it got.
    annotations: z.array(z.unknown()).nullish(),
    audio: z.null().optional(),
    function_call: z.null().optional(),
  }),
  z.strictObject({
    role: z.literal("tool"),
    content: Content,
    tool_call_id: z.string().max(200),
    name: Name,
    type: Kind,
  }),
]);

const Tool = z.strictObject({
  type: z.literal("function"),
  function: z.strictObject({
    name: z.string().regex(/^[\w.-]{1,64}$/, "wanted up to 64 letters, digits, _, . and -"),
    description: z.string().max(20_000).nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
});

const ToolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: z.string() }) }),
]);

const ResponseFormat = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({ type: z.literal("json_object") }),
  z.strictObject({
    type: z.literal("json_schema"),
    json_schema: z.strictObject({
      name: z.string().max(200),
      description: z.string().nullish(),
      schema: z.record(z.string(), z.unknown()),
      strict: z.boolean().nullish(),
    }),
  }),
]);

const BODY = z.strictObject({
  ...SAMPLING_SHAPE,
  messages: z.array(Message).min(1).max(MAX_MESSAGES),
  max_completion_tokens: z
    .int()
    .min(1)
    .max(2 ** 31)
    .nullish(),
  tools: z.array(Tool).max(MAX_TOOLS).nullish(),
  tool_choice: ToolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: ResponseFormat.nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).nullish(),
  reasoning_effort: z.enum(["none", "minimal", "low", "medium", "high", "xhigh"]).nullish(),
  reasoning_format: z.enum(["none", "deepseek", "deepseek-legacy"]).nullish(),
  chat_template_kwargs: z
    .record(z.string().max(100), z.union([z.string(), z.number(), z.boolean(), z.null()]))
    .nullish(),
  // Accepted because clients send them, and because they change nothing here.
  metadata: z.record(z.string(), z.string()).nullish(),
  store: z.literal(false).nullish(),
  service_tier: z.enum(["auto", "default"]).nullish(),
  safety_identifier: z.string().nullish(),
  prompt_cache_key: z.string().nullish(),
});

/** For the description of the API. */
export const ChatBody: z.ZodObject = BODY;

/** Throws ApiError 400. */
export function readChatRequest(body: unknown): ChatRequest {
  const request: ChatRequest = parseBody(BODY, body);
  if (request.top_logprobs && !request.logprobs)
    throw invalid("top_logprobs", '"top_logprobs" is there without "logprobs", wanted logprobs: true');
  return request;
}

/** Messages as templates want them: content as one text, "developer" by its old name. */
export function messagesOf({ messages }: ChatRequest): ChatMessage[] {
  return messages.map((message, index) => {
    const content = textOf(message.content ?? null, index);
    switch (message.role) {
      case "system":
      case "developer":
        return { role: "system", content: content ?? "", ...nameOf(message.name) };
      case "user":
        return { role: "user", content: content ?? "", ...nameOf(message.name) };
      case "tool":
        return {
          role: "tool",
          content: content ?? "",
          tool_call_id: message.tool_call_id,
          ...nameOf(message.name),
        };
      case "assistant": {
        const { tool_calls: calls, reasoning_content: thoughts, reasoning } = message;
        const before = thoughts ?? reasoning;
        return {
          role: "assistant",
          // Templates tell an answer from a call by a content that is missing.
          content: calls && calls.length > 0 ? (content === "" ? null : content) : (content ?? ""),
          ...(calls && calls.length > 0 ? { tool_calls: calls.map(({ index: _, ...call }) => call) } : {}),
          ...(before ? { reasoning_content: before } : {}),
          ...nameOf(message.name),
        };
      }
      default:
        throw message satisfies never;
    }
  });
}

function nameOf(name: string | null | undefined): { name?: string } {
  return name == null ? {} : { name };
}

function textOf(content: MessageContent | null, index: number): string | null {
  if (content === null || typeof content === "string") return content;
  return content
    .map((part, i) => {
      const text = part.type === "text" ? part.text : part.refusal;
      if (text === undefined)
        throw invalid(
          `messages.${index}.content.${i}`,
          `"messages.${index}.content.${i}" has no ${part.type}`,
        );
      return text;
    })
    .join("");
}

/** Most tokens of the answer; undefined: until the context is full. */
export function maxTokensOf({
  max_tokens: old,
  max_completion_tokens: now,
}: ChatRequest): number | undefined {
  if (old != null && now != null && old !== now)
    throw invalid(
      "max_tokens",
      `"max_tokens" is ${old} and "max_completion_tokens" ${now}, wanted one of them`,
    );
  const most = now ?? old ?? undefined;
  if (most === 0) throw invalid("max_tokens", '"max_tokens" is 0, wanted 1 or more');
  return most;
}
