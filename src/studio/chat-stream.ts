/** Chunks of a chat completion become deltas as they come, and at the end what the answer took. */
import type { ErrorBody } from "../server/api.ts";
import { type ChatDelta, type ChatEnd, EngineError } from "./engine.ts";

interface Chunk {
  error?: ErrorBody["error"];
  choices?: {
    delta: { content?: string; reasoning_content?: string };
    finish_reason: string | null;
  }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    completion_tokens_details?: { reasoning_tokens?: number };
  } | null;
  timings?: { predicted_per_second: number | null; prompt_ms: number; queue_ms: number };
}

export async function answerOf(
  chunks: AsyncIterable<string>,
  onDelta: (delta: ChatDelta) => void,
): Promise<ChatEnd> {
  const end: ChatEnd = { finish: "" };
  for await (const data of chunks) {
    if (data === "[DONE]") break;
    const { error, choices, usage, timings } = JSON.parse(data) as Chunk;
    if (error) throw new EngineError(error);
    for (const { delta, finish_reason } of choices ?? []) {
      const { content, reasoning_content: reasoning } = delta;
      if (content || reasoning)
        onDelta({ ...(content ? { content } : {}), ...(reasoning ? { reasoning } : {}) });
      if (finish_reason) end.finish = finish_reason;
    }
    if (usage) {
      end.tokens = usage.completion_tokens;
      end.promptTokens = usage.prompt_tokens;
      end.thinkingTokens = usage.completion_tokens_details?.reasoning_tokens ?? 0;
    }
    if (timings) {
      end.firstTokenMs = timings.prompt_ms + timings.queue_ms;
      if (timings.predicted_per_second !== null) end.tokensPerSecond = timings.predicted_per_second;
    }
  }
  if (end.finish === "") {
    const message = "The answer ended before its end: the server has gone away";
    throw new EngineError({ message, type: "server_error", param: null, code: "unreachable" });
  }
  return end;
}
