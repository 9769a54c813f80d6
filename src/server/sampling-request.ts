/** What both kinds of requests say about sampling, and what of it the engine does. */
import { z } from "zod";
import type { Seed } from "../runtime/counter-random.ts";
import type { SamplingAdvice } from "../runtime/sampling-advice.ts";
import { invalid } from "./api-error.ts";

export const MAX_CHOICES = 16;
const MAX_STOPS = 16;
const MAX_STOP_LENGTH = 500;

const count = (least: number, most: number) => z.int().min(least).max(most).nullish();
const number = (least: number, most: number) => z.number().min(least).max(most).nullish();

/** Keys of both kinds of requests. null is as if a key were not there, as clients send it. */
export interface SamplingBody {
  model: string;
  temperature?: number | null | undefined;
  top_p?: number | null | undefined;
  top_k?: number | null | undefined;
  min_p?: number | null | undefined;
  presence_penalty?: number | null | undefined;
  frequency_penalty?: number | null | undefined;
  repetition_penalty?: number | null | undefined;
  logit_bias?: Record<string, number> | null | undefined;
  seed?: number | null | undefined;
  stop?: string | string[] | null | undefined;
  max_tokens?: number | null | undefined;
  n?: number | null | undefined;
  stream?: boolean | null | undefined;
  stream_options?: StreamOptions | null | undefined;
  user?: string | null | undefined;
}

export interface StreamOptions {
  include_usage?: boolean | null | undefined;
  include_obfuscation?: false | null | undefined;
}

export const SAMPLING_SHAPE: { [K in keyof SamplingBody]-?: z.ZodType<SamplingBody[K]> } = {
  model: z.string().min(1).max(500),
  temperature: number(0, 100),
  top_p: number(0, 1),
  top_k: count(0, 1_000_000).meta({ description: "0 or absent: all" }),
  min_p: number(0, 1),
  presence_penalty: number(-2, 2),
  frequency_penalty: number(-2, 2),
  repetition_penalty: z.number().positive().max(10).nullish(),
  logit_bias: z.record(z.string().regex(/^\d{1,9}$/), z.number().min(-100).max(100)).nullish(),
  seed: z.int().nullish(),
  stop: z
    .union([z.string().max(MAX_STOP_LENGTH), z.array(z.string().max(MAX_STOP_LENGTH)).max(MAX_STOPS)])
    .nullish(),
  max_tokens: count(0, 2 ** 31),
  n: count(1, MAX_CHOICES),
  stream: z.boolean().nullish(),
  stream_options: z
    .strictObject({ include_usage: z.boolean().nullish(), include_obfuscation: z.literal(false).nullish() })
    .nullish(),
  user: z.string().max(1000).nullish().meta({ description: "not looked at" }),
};

export interface Sampling {
  temperature: number;
  topP: number;
  topK?: number;
  minP?: number;
  repeatPenalty?: number;
  adjust?: (logits: Float32Array, tokens: readonly number[], numPrompt: number) => void;
}

/** `advice`: what the checkpoint wants where the request says nothing. */
export function samplingOf(fields: SamplingBody, advice: SamplingAdvice, vocab: number): Sampling {
  const { top_k: topK, min_p: minP, repetition_penalty: repeatPenalty } = fields;
  const topP = fields.top_p ?? advice.topP;
  if (topP === 0) throw invalid("top_p", '"top_p" is 0, wanted a number above 0 and up to 1');
  const adjust = adjustmentOf(fields, vocab);
  return {
    temperature: fields.temperature ?? advice.temperature,
    topP,
    ...(topK == null ? {} : { topK }),
    ...(minP == null ? {} : { minP }),
    ...(repeatPenalty == null ? {} : { repeatPenalty }),
    ...(adjust ? { adjust } : {}),
  };
}

/** Biases, and OpenAI's penalties on what the answer holds so far; undefined where there are none. */
function adjustmentOf(fields: SamplingBody, vocab: number): Sampling["adjust"] {
  const biases = Object.entries(fields.logit_bias ?? {}).map(([id, bias]) => [Number(id), bias] as const);
  const strange = biases.find(([id]) => id >= vocab);
  if (strange)
    throw invalid("logit_bias", `"logit_bias" names token ${strange[0]}, wanted ids below ${vocab}`);
  const presence = fields.presence_penalty ?? 0;
  const frequency = fields.frequency_penalty ?? 0;
  if (biases.length === 0 && presence === 0 && frequency === 0) return undefined;
  return (logits, tokens, numPrompt) => {
    for (const [id, bias] of biases) logits[id]! += bias;
    if (presence === 0 && frequency === 0) return;
    const counts = new Map<number, number>();
    for (let at = numPrompt; at < tokens.length; at++)
      counts.set(tokens[at]!, (counts.get(tokens[at]!) ?? 0) + 1);
    for (const [id, times] of counts) logits[id]! -= presence + frequency * times;
  };
}

export function stopsOf(stop: string | string[] | null | undefined): string[] {
  return (typeof stop === "string" ? [stop] : (stop ?? [])).filter((text) => text !== "");
}

/** Seed of one of several choices: each another, the same whenever it is asked for. */
export function seedOf(seed: number | null | undefined, choice: number): { seed?: Seed } {
  if (seed == null) return {};
  const own = seed + choice;
  return { seed: Number.isSafeInteger(own) ? own : BigInt(seed) + BigInt(choice) };
}
