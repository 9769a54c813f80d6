/**
 * What commands that evaluate are pointed at: a checkpoint, here or elsewhere, a recipe or plan, an endpoint as
 * URL#MODEL, or the folder of a run that was made before. NAME=… in front says what it is called.
 */
import { type Command, InvalidArgumentError } from "commander";
import { formatBytes, formatDuration } from "../base/format.ts";
import type { Target, TargetIdentity } from "../eval/target.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { LoadEvent } from "../runtime/model-options.ts";
import { UsageError } from "./exit.ts";
import { addModelOptions, type ModelCommandOptions, parseCount, parseNumber } from "./model.ts";
import { createProgress } from "./progress.ts";
import { note } from "./terminal.ts";

export interface TargetCommandOptions extends ModelCommandOptions {
  batch?: number;
  model?: string;
  concurrency?: number;
  timeout?: number;
  retries?: number;
  maxSeconds?: number;
  extraBody?: Record<string, unknown>;
}

/** What was said, told apart before anything is opened. */
export interface NamedTarget {
  /** Unique among those of a command. */
  name: string;
  kind: "model" | "endpoint" | "run";
  location: string;
  /** Of an endpoint. */
  model?: string;
}

export function addTargetOptions(command: Command): Command {
  return addModelOptions(command, { speculates: false })
    .option("--batch <n>", "answers that are computed at a time (default: 32)", parseCount)
    .option("--model <name>", "the model of an endpoint, where its URL does not say (URL#MODEL)")
    .option("--concurrency <n>", "requests to an endpoint at a time (default: 8)", parseCount)
    .option("--timeout <seconds>", "longest wait for an endpoint's first word (default: 600)", parseNumber)
    .option("--retries <n>", "tries after a failed request to an endpoint (default: 6)", parseNumber)
    .option("--max-seconds <n>", "longest answer of an endpoint, in seconds (default: 3600)", parseNumber)
    .option(
      "--extra-body <json>",
      'what requests to an endpoint say besides: {"chat_template_kwargs":{"thinking":true}}; null takes a key away',
      parseObject,
    );
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new InvalidArgumentError("wanted JSON");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new InvalidArgumentError("wanted a JSON object");
}

/** Throws UsageError for what is nothing that can be evaluated. */
export async function nameTargets(
  targets: readonly string[],
  { model }: { model?: string } = {},
): Promise<NamedTarget[]> {
  const { fileExists } = await import("../checkpoint/node.ts");
  const { isRunFolder, readRun } = await import("../eval/run-folder.ts");
  const { nameOf } = await import("../library/eval-target.ts");
  const named: NamedTarget[] = [];
  for (const text of targets) {
    const label = /^([\w.-]+)=(.+)$/s.exec(text);
    const isLabelled = label !== null && !fileExists(text);
    const location = isLabelled ? label[2]! : text;
    const own = isLabelled ? label[1]! : undefined;
    if (/^https?:\/\//i.test(location) && (model !== undefined || !(await isCheckpoint(location)))) {
      const [url, fragment] = splitFragment(location);
      const asked = fragment ?? model;
      const name = own ?? asked ?? new URL(url).host;
      named.push({ name, kind: "endpoint", location: url, ...(asked === undefined ? {} : { model: asked }) });
    } else if (isRunFolder(location)) {
      named.push({ name: own ?? (await readRun(location)).config.name, kind: "run", location });
    } else named.push({ name: own ?? nameOf(location), kind: "model", location });
  }
  return withUniqueNames(named);
}

/** Whether a URL is that of a checkpoint, not of an endpoint: one says which model of an endpoint is meant, or ends in /v1. */
async function isCheckpoint(location: string): Promise<boolean> {
  const path = location.split(/[?#]/)[0]!.replace(/\/+$/, "");
  if (/\.(safetensors|gguf|index\.json)$/i.test(path)) return true;
  if (location.includes("#") || /\/v1(\/chat\/completions)?$/.test(path)) return false;
  try {
    const { openStore } = await import("../checkpoint/stores.ts");
    const config = await openStore(location).readSmall("config.json");
    const { model_type } = JSON.parse(new TextDecoder().decode(config ?? new Uint8Array())) ?? {};
    return typeof model_type === "string";
  } catch {
    return false; // what is wrong with it is told when it is used
  }
}

function splitFragment(location: string): [url: string, model: string | undefined] {
  let url: URL;
  try {
    url = new URL(location);
  } catch {
    throw new UsageError(
      `Cannot use the endpoint "${location}": it is no URL, wanted one as http://host:8000/v1#model`,
    );
  }
  const model = url.hash.slice(1) === "" ? undefined : decoded(url.hash.slice(1));
  url.hash = "";
  return [url.href, model];
}

/** A model's name may hold a "%" that begins no escape. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function withUniqueNames(targets: readonly NamedTarget[]): NamedTarget[] {
  const used = new Set<string>();
  return targets.map((target) => {
    const base = target.name.replaceAll(/[^\w.-]+/g, "-").replace(/^[.-]+/, "") || "target";
    let name = base;
    for (let number = 2; used.has(name); number++) name = `${base}-${number}`;
    used.add(name);
    return { ...target, name };
  });
}

/** Throws CheckpointError for a model that is not there, before others are asked for hours. */
export async function requireTargets(targets: readonly NamedTarget[]): Promise<void> {
  const { requireLocation } = await import("../checkpoint/stores.ts");
  for (const { kind, location } of targets) if (kind === "model") await requireLocation(location);
}

/** Opens a model or an endpoint; whoever gets it closes it. */
export async function openTarget(
  { name, kind, location, model }: NamedTarget,
  options: TargetCommandOptions & { signal?: AbortSignal },
): Promise<Target> {
  if (kind === "endpoint") {
    const { openEndpoint } = await import("../eval/endpoint.ts");
    const { apiKeyFor } = await import("../eval/endpoint-url.ts");
    const { concurrency, timeout, retries, maxSeconds, extraBody } = options;
    const apiKey = apiKeyFor(location, process.env);
    return openEndpoint({
      url: location,
      name,
      ...(model === undefined ? {} : { model }),
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(concurrency === undefined ? {} : { concurrency }),
      ...(timeout === undefined ? {} : { timeoutMs: 1000 * timeout }),
      ...(retries === undefined ? {} : { retries }),
      ...(maxSeconds === undefined ? {} : { maxSeconds }),
      ...(extraBody === undefined ? {} : { extraBody }),
    });
  }
  const { openEvalTarget } = await import("../library/eval-target.ts");
  const { batch, threads, context, cache, weights, expertMemory, signal } = options;
  const source = await sourceOf(location, options);
  const progress = createProgress(options.progress, "load");
  return openEvalTarget(source, {
    ...{ name, weights },
    onEvent: (event) => show(event, progress),
    ...(batch === undefined ? {} : { slots: batch }),
    ...(threads ? { threads } : {}),
    ...(context ? { context } : {}),
    ...(cache ? { cache } : {}),
    ...(expertMemory === undefined ? {} : { expertMemory }),
    ...(signal ? { signal } : {}),
  }).finally(() => progress.end());
}

async function sourceOf(
  location: string,
  { parent }: Pick<TargetCommandOptions, "parent">,
): Promise<BuildPlan | string> {
  const { namesChild } = await import("../library/model-source.ts");
  if (!parent || !namesChild(location)) return location;
  return (await import("./plan.ts")).planOf(location, parent);
}

/** What decides a target's answers. No model is loaded for it; an endpoint is asked what it serves. */
export async function identifyTarget(
  target: NamedTarget,
  options: TargetCommandOptions,
): Promise<TargetIdentity> {
  if (target.kind === "endpoint") {
    const opened = await openTarget(target, options);
    await opened.close();
    return opened.identity;
  }
  const { identifyEvalTarget } = await import("../library/eval-target.ts");
  const { context, cache, weights } = options;
  return identifyEvalTarget(await sourceOf(target.location, options), {
    weights,
    ...(context ? { context } : {}),
    ...(cache ? { cache } : {}),
  });
}

function show(event: LoadEvent, progress: ReturnType<typeof createProgress>): void {
  progress.event(event);
  if (event.kind === "progress") progress.update({ done: event.bytesDone, total: event.bytesTotal });
  if (event.kind === "finished" && event.seconds > 2) {
    progress.end();
    note(`loaded ${formatBytes(event.bytes)} in ${formatDuration(event.seconds)}`);
  }
}
