/** POST /v1/chat/completions: from a request that was read to its answer, whole or as it comes. */
import { randomUUID } from "node:crypto";
import { VERSION } from "../base/version.ts";
import { AnswerReader } from "../runtime/answer-reader.ts";
import { type AnswerEnd, answerInBatch, type BatchAnswerOptions } from "../runtime/batch-answer.ts";
import { apiErrorOf, unexpected } from "./api-error.ts";
import { ChatChoice, type ChatChunk, type ChatFinish, WholeMessage } from "./chat-choice.ts";
import { type ChatRequest, maxTokensOf, messagesOf } from "./chat-request.ts";
import { createGuide, guidanceOf } from "./guidance.ts";
import { idsWithin } from "./prompts.ts";
import { samplingOf, seedOf, stopsOf } from "./sampling-request.ts";
import type { LoadedModel } from "./served-model.ts";
import { Deadline, limitTokens, type Serving, timingsOf, usageOf } from "./serving.ts";
import { EventStream } from "./stream.ts";
import { toolsOf, variablesOf } from "./template-request.ts";

interface Ended {
  end: AnswerEnd;
  finish: ChatFinish;
}

/** Answers a request; `client` fires when the client goes away before the answer begins. */
export async function chatCompletion(
  request: ChatRequest,
  serving: Serving,
  client: AbortSignal,
): Promise<Response> {
  const { models, timeoutSeconds } = serving;
  const count = request.n ?? 1;
  if (!request.stream) {
    const deadline = new Deadline(timeoutSeconds, [client]);
    return models.use(request.model, { count, deadline }, (loaded) =>
      wholeAnswer(request, { serving, loaded, deadline }),
    );
  }
  const stream = new EventStream();
  const deadline = new Deadline(timeoutSeconds, [client, stream.signal]);
  // What is wrong with the request is told by a status, so the stream is given out when the prompt is ready.
  return new Promise((resolve, reject) => {
    let isGivenOut = false;
    const onReady = () => {
      isGivenOut = true;
      resolve(stream.response);
    };
    models
      .use(request.model, { count, deadline }, (loaded) =>
        streamAnswer(request, { serving, loaded, deadline, stream, onReady }),
      )
      .catch((error) => {
        if (!isGivenOut) {
          stream.end();
          reject(error);
          return;
        }
        const told = apiErrorOf(error);
        if (!told) serving.log.error("stream failed", { error: String((error as Error).stack ?? error) });
        stream.send(JSON.stringify((told ?? unexpected()).body));
        stream.end();
      });
  });
}

interface Context {
  serving: Serving;
  loaded: LoadedModel;
  deadline: Deadline;
}

async function wholeAnswer(request: ChatRequest, context: Context): Promise<Response> {
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
  { stream, onReady, ...context }: Context & { stream: EventStream; onReady: () => void },
): Promise<void> {
  const head = headOf(request, "chat.completion.chunk");
  const withUsage = request.stream_options?.include_usage === true;
  const send = (choices: object[], more: object = withUsage ? { usage: null } : {}) =>
    stream.send(JSON.stringify({ ...head, choices, ...more }));
  const ended = await answers(request, context, {
    onReady: (count) => {
      onReady();
      for (let index = 0; index < count; index++)
        send([{ index, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }]);
    },
    onChunk: (index, { delta, logprobs }) =>
      send([
        {
          index,
          delta,
          logprobs: logprobs && logprobs.length > 0 ? { content: logprobs, refusal: null } : null,
          finish_reason: null,
        },
      ]),
    onEnd: (index, { finish, end }) =>
      send([{ index, delta: {}, logprobs: null, finish_reason: finish }], {
        ...(withUsage ? { usage: null } : {}),
        timings: timingsOf(end),
      }),
  });
  if (withUsage) send([], { usage: usageOf(ended.map(({ end }) => end)) });
  stream.send("[DONE]");
  stream.end();
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
  { serving, loaded, deadline }: Context,
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
