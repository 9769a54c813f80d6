/** chimera serve: an OpenAI-compatible server over checkpoints and virtual children, until it is stopped. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type Command, InvalidArgumentError, Option } from "commander";
import { ENGINES, type Engine } from "../arch/engines.ts";
import { CheckpointError } from "../base/errors.ts";
import { formatBytes, parseBytes } from "../base/format.ts";
import { VERSION } from "../base/version.ts";
import type { Models } from "../server/models.ts";
import type { ServedSource } from "../server/served-model.ts";
import type { ServerLog } from "../server/serving.ts";
import type { StudioOptions } from "../server/studio/studio-routes.ts";
import type { ReasoningFormat } from "../text/output-parser.ts";
import { UsageError } from "./exit.ts";
import { interruptible } from "./interrupt.ts";
import { addModelOptions, type ModelCommandOptions, parseCount } from "./model.ts";
import { clean, note, paintError, print } from "./terminal.ts";

interface ServeCommandOptions extends ModelCommandOptions {
  port: number;
  host: string;
  apiKey: string[];
  apiKeyFile?: string;
  insecure?: boolean;
  allowHost: string[];
  allowOrigin: string[];
  parallel: number;
  queue: number;
  timeout: number;
  grace: number;
  maxTokens?: number;
  memory?: number;
  idle: number;
  reasoningFormat: ReasoningFormat;
  children?: string;
  runs: string[];
  preload?: boolean;
  log?: "text" | "json" | "none";
  logPrompts?: boolean;
  print?: Engine;
  gpuMemory: number;
  gpus: number;
  json?: boolean;
}

const DEFAULT_PORT = 8080;
const LOOPBACK = new Set(["127.0.0.1", "localhost", "::1"]);
const REASONING_FORMATS: readonly ReasoningFormat[] = ["deepseek", "deepseek-legacy", "none"];

export function addServe(program: Command): void {
  const command = program
    .command("serve")
    .description("serve models to OpenAI's clients and to a browser")
    .argument(
      "[places...]",
      "checkpoints, recipes, folders of them; NAME=PLACE names one (default: the small models of the package)",
    )
    .option("--port <n>", "port; 0: any that is free", parsePort, DEFAULT_PORT)
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option(
      "--api-key <key>",
      "a key that clients must send; repeatable. CHIMERA_API_KEY keeps it out of `ps`",
      gather,
      [],
    )
    .option("--api-key-file <file>", "keys, one a line")
    .option("--insecure", "listen beyond this machine without a key")
    .option("--allow-host <name>", "a name that the server is reached under; repeatable", gather, [])
    .option("--allow-origin <origin>", "a page of another origin that may ask; repeatable", gather, [])
    .option("--parallel <n>", "answers that a model computes at a time", parseCount, 32)
    .option("--queue <n>", "requests that wait beyond those; more are told to come again", parseQueue, 128)
    .option("--timeout <seconds>", "time that a request may take", parseCount, 600)
    .option("--grace <seconds>", "time that running answers get when the server is stopped", parseCount, 30)
    .option("--max-tokens <n>", "tokens of an answer at the most", parseCount)
    .option(
      "--memory <size>",
      "for all models together: idle ones make room (default: what is free)",
      parseSize,
    )
    .option("--idle <minutes>", "unload a model after so long without a request; 0: never", parseQueue, 30)
    .addOption(
      new Option(
        "--reasoning-format <format>",
        "where thinking goes: reasoning_content, both, or the content alone",
      )
        .choices(REASONING_FORMATS)
        .default("deepseek"),
    )
    .option(
      "--children <folder>",
      "where the studio builds children (default: the first of the places that holds checkpoints)",
    )
    .option("--runs <folder>", "runs and studies that the studio shows; repeatable", gather, [])
    .option("--preload", "load the first model at once, not when it is asked for")
    .addOption(
      new Option("--log <form>", "log on stderr (default: text in a terminal, else json)").choices([
        "text",
        "json",
        "none",
      ]),
    )
    .option("--log-prompts", "prompts go to the log too")
    .addOption(
      new Option("--print <engine>", "serve nothing: print how another engine serves the checkpoint").choices(
        ENGINES,
      ),
    )
    .addOption(
      new Option("--gpu-memory <size>", "of one GPU, for --print").argParser(parseSize).default(80e9, "80GB"),
    )
    .option("--gpus <n>", "GPUs of a node, for --print", parseCount, 8)
    .option("--json", "tell on stdout, as lines of JSON, where the server listens and when it ends");
  addModelOptions(command, { speculates: false })
    .addHelpText(
      "after",
      `
Models are loaded when they are first asked for. A recipe is served as its child: none is written.
The server has the routes of OpenAI's protocol below /v1, /health, /metrics and /openapi.json.
SIGINT and SIGTERM let the answers that run end (--grace), and the exit status is 0; a second one ends it at once.

Examples:
  $ chimera serve                      # the small models that come with chimera, and the studio
  $ chimera serve models recipes/mini/r1t.yaml
  $ chimera serve hf:my-org/R1T ./r1t-Q8_0.gguf
  $ chimera serve ./R1T --port 9000 --parallel 64 --queue 256
  $ CHIMERA_API_KEY=… chimera serve ./R1T --host 0.0.0.0
  $ chimera serve --print vllm ./R1T --gpu-memory 141GB
  $ curl localhost:8080/v1/chat/completions -H 'content-type: application/json' \\
      -d '{"model": "r1t", "messages": [{"role": "user", "content": "What is 17 + 25?"}]}'`,
    )
    .action(run);
}

function gather(value: string, all: string[]): string[] {
  return [...all, value];
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 0 && port <= 65535) return port;
  throw new InvalidArgumentError("wanted a port from 0 to 65535");
}

function parseQueue(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 1e6) return value;
  throw new InvalidArgumentError("wanted a whole number from 0 on");
}

function parseSize(text: string): number {
  const bytes = parseBytes(text);
  if (bytes === undefined) throw new InvalidArgumentError("wanted a size such as 20GB or 512MiB");
  return bytes;
}

async function run(named: string[], given: ServeCommandOptions): Promise<void> {
  if (given.print) {
    const { printEngine } = await import("./serve-print.ts");
    const { print: engine, gpuMemory: gpuBytes, gpus: gpusPerNode, json } = given;
    return printEngine(named, { engine, gpuBytes, gpusPerNode, json: json === true });
  }
  const isOwn = named.length === 0;
  const places = isOwn ? await smallFamily() : named;
  // The package's own folder is no place for children.
  const options = isOwn ? { ...given, children: given.children ?? "children" } : given;
  const apiKeys = await keysOf(options);
  if (!LOOPBACK.has(options.host) && apiKeys.length === 0 && !options.insecure)
    throw new UsageError(
      `Cannot listen on ${options.host} without an API key: everybody who reaches this machine could use it`,
      "Set CHIMERA_API_KEY or --api-key-file; --insecure does it all the same",
    );
  const { discover, isElsewhere } = await import("../server/discover.ts");
  const sources = discover(places);
  const { requireLocation } = await import("../checkpoint/stores.ts");
  for (const { source } of sources)
    if (typeof source === "string" && isElsewhere(source)) await requireLocation(source);
  const log = await createLog(options);
  const { openServing } = await import("../server/open-serving.ts");
  const closing = new AbortController();
  const { app, serving, close } = await openServing(sources, {
    access: { apiKeys, hosts: [options.host, ...options.allowHost], origins: options.allowOrigin },
    models: modelsOptionsOf(options),
    log,
    closing: closing.signal,
    reasoningFormat: options.reasoningFormat,
    timeoutSeconds: options.timeout,
    maxTokens: options.maxTokens,
    logsTexts: options.logPrompts === true,
    studio: await studioOptionsOf(places, options),
  });
  try {
    await interruptible(async (signal) => {
      const { listen, closeGracefully } = await import("../server/listen.ts");
      const server = await listen(app, {
        ...{ port: options.port, host: options.host },
        idleMs: Math.min((options.timeout + 60) * 1000, 2 ** 31 - 1),
      }).catch((error) => {
        throw unusablePlace(error, options);
      });
      try {
        tellPlace(server, { sources, options, needsKey: apiKeys.length > 0 });
        const ready = options.preload ? preload(serving.models, sources[0]!.id) : Promise.resolve();
        await Promise.race([aborted(signal), ready.then(() => aborted(signal))]);
      } finally {
        closing.abort();
        await closeGracefully(server, options.grace * 1000);
      }
    });
  } finally {
    await close();
  }
  if (options.json) print(JSON.stringify({ kind: "closed" }));
}

async function smallFamily(): Promise<string[]> {
  const { packageFile } = await import("../checkpoint/node.ts");
  return ["models", "recipes/mini/r1t.yaml"].map(packageFile);
}

async function studioOptionsOf(
  places: readonly string[],
  options: ServeCommandOptions,
): Promise<StudioOptions> {
  const { fileExists, folderExists } = await import("../checkpoint/node.ts");
  const folders = places
    .map((place) => (folderExists(place) ? place : place.replace(/^[^=]*=/, "")))
    .filter(folderExists);
  const missing = options.runs.find((folder) => !folderExists(folder));
  if (missing !== undefined)
    throw new UsageError(`Cannot show runs of "${missing}": there is no such folder`);
  const children = options.children ?? folders.find((folder) => !fileExists(`${folder}/config.json`));
  return { folders: children === undefined ? folders : [...folders, children], children, runs: options.runs };
}

async function preload(models: Models, id: string): Promise<void> {
  try {
    await models.use(id, { count: 1 }, async () => {});
  } catch (error) {
    // As the server would tell it; here it is the user who reads it.
    if (!(error instanceof Error && "status" in error)) throw error;
    throw new CheckpointError("not-enough-memory", error.message);
  }
}

function modelsOptionsOf(options: ServeCommandOptions): object {
  const { threads, context, cache, weights, expertMemory, memory, idle, parallel, queue } = options;
  return {
    model: {
      weights,
      ...(threads ? { threads } : {}),
      ...(context ? { context } : {}),
      ...(cache ? { cache } : {}),
      ...(expertMemory === undefined ? {} : { expertMemory }),
    },
    ...{ slots: parallel, maxWaiting: queue, idleMs: idle * 60_000 },
    ...(memory === undefined ? {} : { memory }),
  };
}

async function keysOf({ apiKey, apiKeyFile }: ServeCommandOptions): Promise<string[]> {
  const keys = [...apiKey];
  const { CHIMERA_API_KEY: fromEnvironment } = process.env;
  if (fromEnvironment) keys.push(fromEnvironment);
  if (apiKeyFile !== undefined) {
    const { readTextFile } = await import("../checkpoint/node.ts");
    const lines = (await readTextFile(apiKeyFile, 1_000_000)).split("\n").map((line) => line.trim());
    const own = lines.filter((line) => line !== "" && !line.startsWith("#"));
    if (own.length === 0) throw new UsageError(`Cannot take keys from "${apiKeyFile}": it holds none`);
    keys.push(...own);
  }
  if (keys.some((key) => key === "" || /\s/.test(key)))
    throw new UsageError("Cannot use an API key that is empty or has spaces");
  return keys;
}

async function createLog({ log, progress }: ServeCommandOptions): Promise<ServerLog> {
  const form = log ?? (progress === "none" ? "none" : process.stderr.isTTY ? "text" : "json");
  if (form === "none") return { info: () => {}, error: () => {} };
  if (form === "text") {
    const line = (event: string, data: Record<string, unknown> = {}) => {
      const { method, path, status, ms, error, ...rest } = data;
      const words = [method, path, status, ms === undefined ? undefined : `${ms} ms`, error].filter(
        (word) => word !== undefined,
      );
      const more =
        Object.keys(rest).filter((key) => key !== "id").length > 0 && event !== "request"
          ? ` ${JSON.stringify(rest)}`
          : "";
      note(
        paintError(
          "dim",
          clean(`${new Date().toISOString().slice(11, 19)} ${event} ${words.join(" ")}${more}`),
        ),
      );
    };
    return { info: line, error: line };
  }
  const { pino } = await import("pino");
  const logger = pino(
    { base: null, redact: ["apiKey", "authorization", "headers.authorization"] },
    pino.destination({ dest: 2, sync: true }), // a worker's last lines would be lost at the end
  );
  return {
    info: (event, data) => logger.info(data ?? {}, event),
    error: (event, data) => logger.error(data ?? {}, event),
  };
}

function tellPlace(
  server: Server,
  {
    sources,
    options,
    needsKey,
  }: { sources: readonly ServedSource[]; options: ServeCommandOptions; needsKey: boolean },
): void {
  const { port } = server.address() as AddressInfo;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  const url = `http://${host}:${port}`;
  const ids = sources.map(({ id }) => id);
  if (options.json)
    print(JSON.stringify({ kind: "listening", url, port, models: ids, pid: process.pid, version: VERSION }));
  note(
    `serving ${ids.slice(0, 8).map(clean).join(", ")}${ids.length > 8 ? ` and ${ids.length - 8} more` : ""} at ${paintError("bold", `${url}/v1`)}`,
  );
  if (options.memory !== undefined)
    note(paintError("dim", `within ${formatBytes(options.memory)} of memory`));
  if (!needsKey && !LOOPBACK.has(options.host))
    note(
      `${paintError("yellow", "warning:")} whoever reaches this machine can use the server: there is no key`,
    );
}

function unusablePlace(error: unknown, { port, host }: ServeCommandOptions): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE")
    return new UsageError(
      `Cannot listen on port ${port}: it is in use`,
      "--port names another, 0 takes any that is free",
    );
  if (code === "EACCES") return new UsageError(`Cannot listen on port ${port}: this user may not`);
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND")
    return new UsageError(`Cannot listen on "${host}": it is no address of this machine`);
  return error;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
