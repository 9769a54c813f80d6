/** POST /v1/chat/completions: from a request that was read to its answer, whole or as it comes. */
import { randomUUID } from "node:crypto";
import { VERSION } from "../base/version.ts";
import { AnswerReader } from "../runtime/answer-reader.ts";
import { type AnswerEnd, answerInBatch, type BatchAnswerOptions } from "../runtime/batch-answer.ts";
import { ChatChoice, type ChatChunk, type ChatFinish, WholeMessage } from "./chat-choice.ts";
import { type ChatRequest, maxTokensOf, messagesOf } from "./chat-request.ts";
import { createGuide, guidanceOf } from "./guidance.ts";
import { idsWithin } from "./prompts.ts";
import { type AnswerContext, Chunks, respond, type StreamContext } from "./respond.ts";
import { samplingOf, seedOf, stopsOf } from "./sampling-request.ts";
import { limitTokens, type Serving, timingsOf, usageOf } from "./serving.ts";
import { toolsOf, variablesOf } from "./template-request.ts";

interface Ended {
  end: AnswerEnd;
  finish: ChatFinish;
}

/** Answers a request; `client` fires when the client goes away before the answer begins. */
export function chatCompletion(
  request: ChatRequest,
  serving: Serving,
  client: AbortSignal,
): Promise<Response> {
  return respond(serving, {
    ...{ model: request.model, count: request.n ?? 1, isStream: request.stream === true, client },
    whole: (context) => wholeAnswer(request, context),
    stream: (context) => streamAnswer(request, context),
  });
}

async function wholeAnswer(request: ChatRequest, context: AnswerContext): Promise<Response> {
  const wholes: WholeMessage[] = Array.from({ length: request.n ?? 1 }, () => new WholeMessage());
  const ended = await answers(request, context, { onChunk: (index, chunk) => wholes[index]!.add(chunk) });
  const choices = wholes.map((whole, index) => ({
    index,
    message: whole.message,
    logprobs: request.logprobs ? { content: whole.logprobs, refusal: null } : null,
    finish_reason: ended[index]!.finish,
  }));
  return Response.json({
    ...headOf(request, "chat.completion"),
    choices,
    usage: usageOf(ended.map(({ end }) => end)),
    timings: timingsOf(ended[0]!.end),
  });
}

async function streamAnswer(
  request: ChatRequest,
  { stream, onReady, ...context }: StreamContext,
): Promise<void> {
  const withUsage = request.stream_options?.include_usage === true;
  const chunks = new Chunks(stream, headOf(request, "chat.completion.chunk"), { withUsage });
  const ended = await answers(request, context, {
    onReady: (count) => {
      onReady();
      const delta = { role: "assistant", content: "" };
      for (let index = 0; index < count; index++)
        chunks.send([{ index, delta, logprobs: null, finish_reason: null }]);
    },
    onChunk: (index, { delta, logprobs: some }) => {
      const logprobs = some && some.length > 0 ? { content: some, refusal: null } : null;
      chunks.send([{ index, delta, logprobs, finish_reason: null }]);
    },
    onEnd: (index, { finish, end }) =>
      chunks.send([{ index, delta: {}, logprobs: null, finish_reason: finish }], { timings: timingsOf(end) }),
  });
  chunks.end(usageOf(ended.map(({ end }) => end)));
}

interface Listener {
  /** The prompt is understood, and answers are about to come. */
  onReady?: (numChoices: number) => void;
  onChunk: (index: number, chunk: ChatChunk) => void;
  onEnd?: (index: number, ended: Ended) => void;
}

/** All choices of a request, computed together. When one fails, the others are ended. */
async function answers(
  request: ChatRequest,
  { serving, loaded, deadline }: AnswerContext,
  { onReady, onChunk, onEnd }: Listener,
): Promise<Ended[]> {
  const { text, batch, advice } = loaded;
  const { tokenizer, model } = text;
  const count = request.n ?? 1;
  const messages = messagesOf(request);
  const template = await text.template();
  const tools = toolsOf(request, template);
  const reasoningFormat = request.reasoning_format ?? serving.reasoningFormat;
  const guidance = guidanceOf(request, { tools, toolGrammar: template.toolGrammar, reasoningFormat });
  const failure = new AbortController();
  const signal = deadline.signalWith(failure.signal);
  const { adjust, ...sampling } = samplingOf(request, advice, model.config.sizes.vocab);
  const variables = variablesOf(request, template);
  const prompt = await text.render(messages, { variables, signal, ...(tools ? { tools } : {}) });
  const ids = idsWithin(loaded, prompt, { param: "messages", encode: () => tokenizer.encode(prompt) });
  const reading = {
    ...{ prompt, reasoningFormat, toolGrammar: template.toolGrammar, stop: stopsOf(request.stop) },
    callId: () => `call_${randomUUID().replaceAll("-", "").slice(0, 24)}`,
  };
  const asked = Array.from({ length: count }, () => ({
    ...{ ids, text: prompt, reader: new AnswerReader(tokenizer, reading) },
  }));
  const options: BatchAnswerOptions = {
    ...sampling,
    ...limitTokens(maxTokensOf(request), serving.maxTokens),
    ...(adjust ? { adjust } : {}),
    ...(request.logprobs ? { likelihoods: request.top_logprobs ?? 0 } : {}),
    signal,
  };
  const guides = guidance && asked.map(() => createGuide(loaded, guidance, prompt));
  onReady?.(count);
  const run = async (index: number): Promise<Ended> => {
    const choice = new ChatChoice(tokenizer, { hasLogprobs: request.logprobs === true });
    const guide = guides?.[index];
    const end = await answerInBatch(text, batch, asked[index]!, {
      ...options,
      ...seedOf(request.seed, index),
      ...(guide ? { guide } : {}),
      onStep: (step) => {
        const chunk = choice.step(step);
        if (chunk) onChunk(index, chunk);
      },
    });
    serving.metrics.answer(request.model, end);
    if (end.finish === "aborted") deadline.check();
    const { chunk, finish } = choice.end(end);
    if (chunk) onChunk(index, chunk);
    onEnd?.(index, { end, finish });
    return { end, finish };
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

function headOf({ model }: ChatRequest, object: string): object {
  const id = `chatcmpl-${randomUUID().replaceAll("-", "")}`;
  return {
    id,
    object,
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: `chimera-${VERSION}`,
  };
}
