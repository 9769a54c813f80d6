/** POST /v1/completions: text behind text, and how likely the model holds the text that is there. */
import { randomUUID } from "node:crypto";
import { VERSION } from "../base/version.ts";
import { AnswerReader } from "../runtime/answer-reader.ts";
import { type AnswerEnd, type AnswerStep, answerInBatch } from "../runtime/batch-answer.ts";
import type { OutputEvent } from "../text/output-events.ts";
import {
  type CompletionRequest,
  choicesOf,
  completionTokensOf,
  idsOf,
  promptsOf,
} from "./completion-request.ts";
import { type AnswerContext, Chunks, respond, type StreamContext } from "./respond.ts";
import { samplingOf, seedOf, stopsOf } from "./sampling-request.ts";
import { limitTokens, type Serving, timingsOf, usageOf } from "./serving.ts";
import { CompletionLikelihoods, type CompletionLogprobs, codePoints } from "./token-text.ts";

interface Piece {
  text: string;
  logprobs: CompletionLogprobs | null;
}

interface Ended {
  end: AnswerEnd;
  finish: "stop" | "length";
}

/** Answers a request; `client` fires when the client goes away before the answer begins. */
export function completion(
  request: CompletionRequest,
  serving: Serving,
  client: AbortSignal,
): Promise<Response> {
  const count = promptsOf(request).length * choicesOf(request);
  return respond(serving, {
    ...{ model: request.model, count, isStream: request.stream === true, client },
    whole: (context) => whole(request, context),
    stream: (context) => streamed(request, context),
  });
}

async function whole(request: CompletionRequest, context: AnswerContext): Promise<Response> {
  const pieces: Piece[][] = [];
  const ended = await answers(request, context, {
    onPiece: (index, piece) => {
      pieces[index] ??= [];
      pieces[index].push(piece);
    },
  });
  const choices = ended.map(({ finish }, index) => {
    const own = pieces[index] ?? [];
    return {
      index,
      text: own.map(({ text }) => text).join(""),
      logprobs: request.logprobs == null ? null : joined(own.flatMap(({ logprobs }) => logprobs ?? [])),
      finish_reason: finish,
    };
  });
  return Response.json({
    ...headOf(request),
    choices,
    usage: usageOf(
      ended.map(({ end }) => end),
      promptsOf(request).length,
    ),
    timings: timingsOf(ended[0]!.end),
  });
}

async function streamed(
  request: CompletionRequest,
  { stream, onReady, ...context }: StreamContext,
): Promise<void> {
  const withUsage = request.stream_options?.include_usage === true;
  const chunks = new Chunks(stream, headOf(request), { withUsage });
  const ended = await answers(request, context, {
    onReady,
    onPiece: (index, { text, logprobs }) => chunks.send([{ index, text, logprobs, finish_reason: null }]),
    onEnd: (index, { finish, end }) =>
      chunks.send([{ index, text: "", logprobs: null, finish_reason: finish }], { timings: timingsOf(end) }),
  });
  chunks.end(
    usageOf(
      ended.map(({ end }) => end),
      promptsOf(request).length,
    ),
  );
}

interface Listener {
  onReady?: () => void;
  onPiece: (index: number, piece: Piece) => void;
  onEnd?: (index: number, ended: Ended) => void;
}

/** All choices of all prompts, computed together. When one fails, the others are ended. */
async function answers(
  request: CompletionRequest,
  { serving, loaded, deadline }: AnswerContext,
  { onReady, onPiece, onEnd }: Listener,
): Promise<Ended[]> {
  const { text, batch, advice } = loaded;
  const { tokenizer, model } = text;
  const perPrompt = choicesOf(request);
  const numTop = request.logprobs ?? undefined;
  const { adjust, ...sampling } = samplingOf(request, advice, model.config.sizes.vocab);
  const { maxTokens } = limitTokens(completionTokensOf(request, serving.maxTokens), serving.maxTokens);
  const failure = new AbortController();
  const signal = deadline.signalWith(failure.signal);
  const stop = stopsOf(request.stop);
  const asked = promptsOf(request).flatMap((prompt) => {
    const ids = idsOf(prompt, loaded);
    const isText = typeof prompt === "string";
    const whole = isText ? prompt : tokenizer.decode(ids);
    // A BOS that was put before a text is not of the text.
    const from = isText && ids[0] === tokenizer.bos && !prompt.startsWith(tokenizer.bosToken) ? 1 : 0;
    return Array.from({ length: perPrompt }, () => ({
      ...{ ids, from, text: whole, reader: new AnswerReader(tokenizer, { stop }) },
    }));
  });
  onReady?.();
  const run = async (index: number): Promise<Ended> => {
    const { ids, from, reader, text: prompt } = asked[index]!;
    const offset = request.echo ? 0 : codePoints(prompt);
    const likelihoods =
      numTop === undefined ? undefined : new CompletionLikelihoods(tokenizer, { numTop, offset });
    const give = (own: string) => onPiece(index, { text: own, logprobs: likelihoods?.taken() ?? null });
    const steps: AnswerStep[] = [];
    // The prompt is told first, with its likelihoods, and those are complete when the first token comes.
    let isEchoed = !request.echo;
    const flush = (events: readonly OutputEvent[]) => {
      const own = events.map((event) => (event.kind === "content" ? event.text : "")).join("");
      if (own === "") return;
      for (const { token, likelihood } of steps.splice(0)) likelihoods?.add(token, likelihood);
      give(own);
    };
    const end = await answerInBatch(text, batch, asked[index]!, {
      ...sampling,
      ...seedOf(request.seed, Math.floor(index % perPrompt)),
      ...(maxTokens === undefined ? {} : { maxTokens }),
      ...(adjust ? { adjust } : {}),
      ...(numTop === undefined ? {} : { likelihoods: numTop }),
      ...(request.echo && numTop !== undefined ? { promptLikelihoods: true } : {}),
      signal,
      onPromptDone: (told) => {
        if (isEchoed) return;
        isEchoed = true;
        for (const [i, id] of ids.slice(from).entries()) likelihoods?.add(id, told[from + i - 1]);
        give(prompt);
      },
      onStep: (step) => {
        steps.push(step);
        flush(step.events);
      },
    });
    serving.metrics.answer(request.model, end);
    if (end.finish === "aborted") deadline.check();
    flush(end.events);
    // What is left added no text: an end token counts as one, the pieces of a stop text do not.
    if (likelihoods && steps.length > 0 && !reader.isStopped) {
      for (const { token, likelihood } of steps) likelihoods.add(token, likelihood);
      give("");
    }
    const ended: Ended = { end, finish: end.finish === "stop" ? "stop" : "length" };
    onEnd?.(index, ended);
    return ended;
  };
  const runs = asked.map((_, index) => run(index));
  try {
    return await Promise.all(runs);
  } catch (error) {
    failure.abort();
    await Promise.allSettled(runs); // the model must not be given up while one of them is computed
    deadline.check();
    throw error;
  }
}

function joined(parts: readonly CompletionLogprobs[]): CompletionLogprobs {
  return {
    tokens: parts.flatMap(({ tokens }) => tokens),
    token_logprobs: parts.flatMap(({ token_logprobs: values }) => values),
    top_logprobs: parts.some(({ top_logprobs: tops }) => tops === null)
      ? null
      : parts.flatMap(({ top_logprobs: tops }) => tops ?? []),
    text_offset: parts.flatMap(({ text_offset: offsets }) => offsets),
  };
}

function headOf({ model }: CompletionRequest): object {
  const id = `cmpl-${randomUUID().replaceAll("-", "")}`;
  const created = Math.floor(Date.now() / 1000);
  return { id, object: "text_completion", created, model, system_fingerprint: `chimera-${VERSION}` };
}
