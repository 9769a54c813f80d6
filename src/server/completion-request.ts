/** The body of POST /v1/completions. */
import { z } from "zod";
import { invalid } from "./api-error.ts";
import { idsWithin, requireRoom } from "./prompts.ts";
import { parseBody } from "./request-body.ts";
import { MAX_CHOICES, SAMPLING_SHAPE, type SamplingBody } from "./sampling-request.ts";
import type { LoadedModel } from "./served-model.ts";

const MAX_PROMPTS = 256;
/** OpenAI's. */
const DEFAULT_TOKENS = 16;

const Ids = z.array(z.int().min(0));

const BODY = z.strictObject({
  ...SAMPLING_SHAPE,
  prompt: z
    .union([
      z.string(),
      Ids.min(1),
      z.array(z.string()).min(1).max(MAX_PROMPTS),
      z.array(Ids.min(1)).min(1).max(MAX_PROMPTS),
    ])
    .meta({ description: "a text, or ids, or a list of either" }),
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(20).nullish(),
  best_of: z.int().min(1).max(MAX_CHOICES).nullish(),
  suffix: z.literal("").nullish(),
});

/** For the description of the API. */
export const CompletionBody: z.ZodObject = BODY;

export interface CompletionRequest extends SamplingBody {
  prompt: string | string[] | number[] | number[][];
  echo?: boolean | null | undefined;
  logprobs?: number | null | undefined;
  best_of?: number | null | undefined;
}

/** Throws ApiError 400. */
export function readCompletionRequest(body: unknown): CompletionRequest {
  return parseBody(BODY, body);
}

export function promptsOf({ prompt }: CompletionRequest): (string | number[])[] {
  if (typeof prompt === "string") return [prompt];
  return typeof prompt[0] === "number" ? [prompt as number[]] : (prompt as string[] | number[][]);
}

/** Choices of each prompt. Throws ApiError 400 for more than are given out. */
export function choicesOf({ n, best_of: best }: CompletionRequest): number {
  const count = n ?? 1;
  if (best != null && best !== count)
    throw invalid(
      "best_of",
      `"best_of" is ${best} and "n" ${count}: of more answers than are given out none can be chosen here`,
    );
  return count;
}

/** A prompt as ids. Throws ApiError 400 for one that is too long, or empty, and for ids that have no token. */
export function idsOf(prompt: string | number[], loaded: LoadedModel): readonly number[] {
  const { text, batch } = loaded;
  if (typeof prompt === "string")
    return idsWithin(loaded, prompt, { param: "prompt", encode: () => text.promptOf(prompt) });
  const strange = prompt.find((id) => !text.tokenizer.hasToken(id));
  if (strange !== undefined) throw invalid("prompt", `"prompt" has id ${strange}, which has no token`);
  requireRoom(prompt, { limit: batch.limit, param: "prompt" });
  return prompt;
}

/** Most tokens of the answer; 0 where only the prompt is told. Who does not say gets no more than the limit. */
export function completionTokensOf(request: CompletionRequest, limit: number = DEFAULT_TOKENS): number {
  const most = request.max_tokens ?? Math.min(DEFAULT_TOKENS, limit);
  if (most === 0 && !request.echo)
    throw invalid("max_tokens", '"max_tokens" is 0 and nothing is echoed, wanted 1 or more');
  return most;
}
