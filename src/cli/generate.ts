/** chimera generate: asks a checkpoint, or a child that is not built yet, and streams the answer. */
import type { Command } from "commander";
import { Interrupted } from "../base/errors.ts";
import type { GenerateStats } from "../runtime/generate.ts";
import type { SamplerOptions } from "../runtime/sampler.ts";
import type { AnswerOptions, TextModel } from "../runtime/talk.ts";
import type { OutputEvent } from "../text/output-events.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import {
  addModelOptions,
  expertsInWords,
  formOf,
  type ModelCommandOptions,
  parseCount,
  parseNumber,
  promptProgress,
  weightsOf,
  withTextModel,
} from "./model.ts";
import { clean, note, paint, paintError, print, printJson } from "./terminal.ts";

export interface SamplingCommandOptions {
  maxTokens?: number;
  temperature?: number;
  topP?: number;
  topK?: number;
  minP?: number;
  repeatPenalty?: number;
  seed?: number;
  stop?: string[];
}

interface GenerateCommandOptions extends ModelCommandOptions, SamplingCommandOptions {
  prompt?: string;
  system?: string;
  raw?: boolean;
  json?: boolean;
}

export function addSamplingOptions(command: Command): Command {
  return command
    .option(
      "--max-tokens <n>",
      "most tokens of the answer (default: as many as the context holds)",
      parseCount,
    )
    .option(
      "--temperature <t>",
      "0: always the likeliest token (default: the checkpoint's, else 0.6)",
      parseNumber,
    )
    .option(
      "--top-p <p>",
      "the likeliest tokens that reach this sum (default: the checkpoint's, else 0.95)",
      parseNumber,
    )
    .option("--top-k <k>", "only the k likeliest tokens", parseCount)
    .option("--min-p <p>", "only tokens this likely, as a part of the likeliest", parseNumber)
    .option("--repeat-penalty <f>", "makes tokens that were there less likely; 1: off", parseNumber)
    .option("--seed <n>", "the same seed gives the same answer", parseNumber)
    .option(
      "--stop <text>",
      "a text that ends the answer; repeatable",
      (text: string, all: string[] = []) => [...all, text],
    );
}

export function addGenerate(program: Command): void {
  const command = program
    .command("generate")
    .description("ask a model and stream its answer")
    .argument("<model>", "a checkpoint, or a recipe: its child is assembled as it is loaded, none is written")
    .requiredOption("-p, --prompt <text>", "the question; - reads it from stdin")
    .option("--system <text>", "a system message before it")
    .option("--raw", "no chat template: the model goes on behind the text as it is");
  addModelOptions(addSamplingOptions(command))
    .option("--json", "the whole answer and its figures as JSON on stdout")
    .addHelpText(
      "after",
      `
The answer goes to stdout, thinking and figures to stderr. Answers at
temperature 0, or with one seed, do not depend on threads, nor on MTP.

Examples:
  $ chimera generate ./R1T -p "What is 17 + 25?"
  $ chimera generate recipes/mini/r1t.yaml -p "What is 17 + 25?" --temperature 0
  $ chimera generate ./DeepSeek-R1 -p "Hello" --expert-memory 40GB
  $ chimera generate ./R1T -p "Hello" --weights int8
  $ chimera generate ./R1T --raw -p "Once upon a time" --max-tokens 100`,
    )
    .action(run);
}

async function run(target: string, options: GenerateCommandOptions): Promise<void> {
  const prompt = options.prompt === "-" ? await readStdin() : options.prompt!;
  if (prompt === "") throw new UsageError("Cannot generate behind an empty prompt, wanted a text");
  if (options.raw && options.system !== undefined)
    throw new UsageError("Cannot use --system with --raw: there is no template to place it");
  await requireSampling(options);
  await interruptible((signal) =>
    withTextModel(target, { ...options, signal }, async (text) => {
      const stats = newCounts();
      const prompted = promptProgress(options.progress);
      const wishes: AnswerOptions = {
        ...(await samplingOf(text, options)),
        signal,
        stats,
        onPrompt: prompted.onPrompt,
        ...(options.mtp ? { speculate: true } : {}),
        ...(options.maxTokens ? { maxTokens: options.maxTokens } : {}),
        ...(options.stop ? { stop: options.stop } : {}),
      };
      const system = options.system === undefined ? [] : [{ role: "system", content: options.system }];
      const messages = [...system, { role: "user", content: prompt }];
      const answer = options.raw ? text.complete(prompt, wishes) : text.answer(messages, wishes);
      const events = prompted.until(answer);
      if (options.json) {
        const { gatherOutput } = await import("../text/output-events.ts");
        const all: OutputEvent[] = [];
        for await (const event of events) all.push(event);
        const { reason, ...output } = gatherOutput(all);
        const finish = stats.finish ?? reason;
        printJson({ ...output, finish, ...weightsOf(text.model), stats: figuresOf(stats) });
      } else {
        await drawAnswer(events);
        note(paintError("dim", `${summaryOf(stats)}${formOf(text.model)}`));
      }
      if (stats.finish === "aborted") throw new Interrupted("the answer is not complete");
    }),
  );
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString("utf8");
}

function newCounts(): GenerateStats {
  return {
    ...{ promptTokens: 0, cachedTokens: 0, promptSeconds: 0, tokens: 0, seconds: 0 },
    ...{ drafts: 0, accepted: 0, finish: undefined },
  };
}

/** Refuses wishes that no sampler grants, before a model is loaded for them. */
export async function requireSampling(options: SamplingCommandOptions): Promise<void> {
  const { Sampler } = await import("../runtime/sampler.ts");
  try {
    new Sampler(givenOf(options));
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(asOptions(error.message));
    throw error;
  }
  if (options.stop?.includes(""))
    throw new UsageError("Cannot stop at an empty text, wanted --stop with one");
}

/** The sampler's options by the names that they have here: topP -> --top-p. */
function asOptions(message: string): string {
  const names = /\b(?:temperature|topP|topK|minP|repeatPenalty|seed)\b/g;
  return message.replace(names, (name) => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`);
}

function givenOf(options: SamplingCommandOptions): SamplerOptions {
  const { temperature, topP, topK, minP, repeatPenalty, seed } = options;
  return {
    ...(temperature === undefined ? {} : { temperature }),
    ...(topP === undefined ? {} : { topP }),
    ...(topK === undefined ? {} : { topK }),
    ...(minP === undefined ? {} : { minP }),
    ...(repeatPenalty === undefined ? {} : { repeatPenalty }),
    ...(seed === undefined ? {} : { seed }),
  };
}

/** What is asked for, else what the checkpoint advises. */
export async function samplingOf(text: TextModel, options: SamplingCommandOptions): Promise<SamplerOptions> {
  const { samplingAdvice } = await import("../runtime/sampling-advice.ts");
  return { ...(await samplingAdvice(text.model.source)), ...givenOf(options) };
}

/** Thinking dim and apart on stderr's side of a terminal, the answer on stdout. */
export async function drawAnswer(events: AsyncIterable<OutputEvent>): Promise<void> {
  let isThinking = false;
  let hasText = false;
  for await (const event of events) {
    if (event.kind === "reasoning") {
      if (!isThinking) note(paintError("dim", "thinking"));
      isThinking = true;
      process.stderr.write(paintError("dim", cleanText(event.text)));
    } else if (event.kind === "content") {
      if (isThinking) note("\n");
      isThinking = false;
      hasText = true;
      process.stdout.write(cleanText(event.text));
    } else if (event.kind === "tool-call") {
      if (isThinking) note("\n");
      isThinking = false;
      hasText = true;
      process.stdout.write(`${paint("cyan", `→ ${clean(event.name)}`)} `);
    } else if (event.kind === "tool-arguments") {
      process.stdout.write(cleanText(event.text));
    } else if (event.kind === "finish" && event.unclosedReasoning) {
      note(`\n${paintError("yellow", "note:")} the model did not close its thinking: there is no answer`);
    }
  }
  if (hasText) print();
}

/** Control characters but tabs and line feeds could steer the terminal. */
function cleanText(text: string): string {
  return text.replace(/[^\P{Cc}\t\n]/gu, "\ufffd");
}

function figuresOf(stats: GenerateStats): object {
  const { promptTokens, cachedTokens, promptSeconds, tokens, seconds, drafts, accepted } = stats;
  const rate = (count: number, time: number) => (count > 0 && time > 0 ? count / time : null);
  return {
    ...{ promptTokens, cachedTokens, promptSeconds, tokens, seconds, drafts, accepted },
    promptTokensPerSecond: rate(promptTokens - cachedTokens, promptSeconds),
    tokensPerSecond: rate(tokens - 1, seconds),
    ...(stats.draftsPay === undefined ? {} : { draftsPay: stats.draftsPay }),
    ...(stats.experts ? { experts: stats.experts } : {}),
  };
}

export function summaryOf(stats: GenerateStats): string {
  const { promptTokens, cachedTokens, promptSeconds, tokens, seconds, drafts, accepted, finish } = stats;
  const rate = (count: number, time: number) =>
    count > 0 && time > 0 ? `, ${(count / time).toFixed(1)}/s` : "";
  const cached = cachedTokens > 0 ? ` (${cachedTokens} cached)` : "";
  const stopped = stats.draftsPay === false ? ", then none, as they make it slower" : "";
  const mtp = drafts > 0 ? ` · MTP ${accepted} of ${drafts} drafts kept${stopped}` : "";
  const end = finish === "stop" || finish === undefined ? "" : ` · ended by ${finish}`;
  const experts = stats.experts ? ` · ${expertsInWords(stats.experts.answer, { tokens, seconds })}` : "";
  return `prompt ${promptTokens} tokens${cached}${rate(promptTokens - cachedTokens, promptSeconds)} · answer ${tokens} tokens${rate(tokens - 1, seconds)}${mtp}${experts}${end}`;
}
