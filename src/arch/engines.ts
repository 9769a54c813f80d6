/**
 * How other engines run a checkpoint: vLLM, SGLang, llama.cpp. Commands are made from what lies in the folder (config,
 * template, sizes, whether the MTP layers are there) and from the GPUs that are stated; nothing is guessed from names.
 *
 * The options are those of the engines' documentation (vLLM 0.11 and newer, SGLang 0.5, llama.cpp of 2025 and newer). No command of
 * these was run here: there is no GPU that the models would fit.
 */
import { formatBytes } from "../base/format.ts";
import { architectureOf } from "./architecture.ts";
import { asConfig, countAt, own } from "./config.ts";
import { languageModelOf } from "./families.ts";

export const ENGINES = ["vllm", "sglang", "llama.cpp"] as const;
export type Engine = (typeof ENGINES)[number];

/** What the commands depend on. */
export interface EngineFacts {
  /** Of our table of families, "unknown" for others. */
  family: string;
  /** Of all tensors. */
  bytes: number;
  isFp8: boolean;
  /** Rows of a scale block. */
  blockRows: number;
  /** MTP layers whose tensors are there. */
  mtpLayers: number;
  heads: number | undefined;
  /** Rows of an expert's matrices, which tensor parallelism cuts. */
  expertRows: number | undefined;
  /** config.json names Python files that must be run to read it. */
  needsRemoteCode: boolean;
  thinking: "always" | "by-template" | "none";
  tools: "deepseek-v3" | "deepseek-v3.1" | "none";
}

export interface EngineOptions {
  /** Bytes of one GPU. */
  gpuBytes: number;
  gpusPerNode: number;
  /** The folder, or the repository of the Hub (ORG/NAME), as a shell takes it. */
  location: string;
  /** Of a repository, where one is asked for, as a shell takes it. */
  revision?: string;
  /** How the checkpoint comes to a folder called `name`, for engines that read folders alone. */
  fetch?: string[];
  /** It is one of GGUF files: what llama-server is told of it. */
  gguf?: string[];
  /** What clients call the model, as a shell takes it. */
  name: string;
}

export interface EngineCommands {
  engine: Engine;
  /** For people, one line each. */
  notes: string[];
  /** In order. */
  commands: { about: string; command: string[] }[];
}

/** From config.json, the names of all tensors, their bytes and the text of the chat template. */
export function engineFacts(
  config: unknown,
  { names, bytes, template }: { names: Iterable<string>; bytes: number; template: string | undefined },
): EngineFacts {
  const { config: inner } = languageModelOf(asConfig(config) ?? {});
  const architecture = architectureOf(config);
  const mtp = new Set<number>();
  for (const name of names) {
    const { mtp: isMtp, layer } = architecture.locate(name);
    if (isMtp && layer !== undefined) mtp.add(layer);
  }
  return {
    family: architecture.id,
    bytes,
    isFp8: architecture.quantization === "fp8-block",
    blockRows: architecture.block.rows,
    // An MTP layer that config.json does not declare is read by nobody.
    mtpLayers: Math.min(mtp.size, architecture.numMtpLayers),
    heads: countAt(inner, "num_attention_heads", 1),
    expertRows: countAt(inner, "moe_intermediate_size", 1),
    needsRemoteCode: asConfig(own(asConfig(config) ?? {}, "auto_map")) !== undefined,
    thinking: thinkingOf(template),
    tools: toolsOf(template),
  };
}

/** A template with a switch leaves it to the request; one that knows the end of a trace is that of a reasoner. */
function thinkingOf(template = ""): EngineFacts["thinking"] {
  if (/\b(thinking|enable_thinking)\b/.test(template)) return "by-template";
  return template.includes("</think>") || template.includes("<think>") ? "always" : "none";
}

function toolsOf(template = ""): EngineFacts["tools"] {
  if (!template.includes("<｜tool▁calls▁begin｜>")) return "none";
  return template.includes("```json") ? "deepseek-v3" : "deepseek-v3.1";
}

/** GPUs for a model, a power of two: weights take at most three quarters of each, the rest is for caches. */
export function gpusFor(
  { bytes, heads }: EngineFacts,
  { gpuBytes }: Pick<EngineOptions, "gpuBytes">,
): number {
  let gpus = 1;
  while (bytes / gpus > 0.75 * gpuBytes && gpus < 1024) gpus *= 2;
  // Attention is cut by heads: a number that does not divide them does not start.
  if (heads !== undefined) while (gpus > 1 && heads % gpus !== 0) gpus /= 2;
  return gpus;
}

export function engineCommands(engine: Engine, facts: EngineFacts, options: EngineOptions): EngineCommands {
  const made = { vllm, sglang, "llama.cpp": llamaCpp }[engine](facts, options);
  return { engine, ...made, notes: [...made.notes, "The command was not run by who wrote it."] };
}

type Made = Omit<EngineCommands, "engine">;

/** Reasoning and tool parsers by family, then by what the template says. */
function parsersOf(
  { family, thinking, tools }: EngineFacts,
  names: Record<"always" | "by-template" | "deepseek-v3" | "deepseek-v3.1", string>,
): { reasoning?: string; tool?: string } {
  if (!family.startsWith("deepseek")) return {};
  return {
    ...(thinking === "none" ? {} : { reasoning: names[thinking] }),
    ...(tools === "none" ? {} : { tool: names[tools] }),
  };
}

function sizeNote(facts: EngineFacts, { gpuBytes, gpusPerNode }: EngineOptions): string[] {
  const gpus = gpusFor(facts, { gpuBytes });
  const nodes = Math.ceil(gpus / gpusPerNode);
  const where = nodes > 1 ? `, ${nodes} nodes of ${gpusPerNode}` : "";
  const each = `${formatBytes(facts.bytes / gpus)} of weights each`;
  const notes = [
    `${formatBytes(facts.bytes)} of weights on ${gpus} GPU${gpus === 1 ? "" : "s"} of ${formatBytes(gpuBytes)}${where}: ${each}.`,
  ];
  if (facts.bytes / gpus > 0.9 * gpuBytes)
    notes.push(`They do not fit: ${facts.heads} attention heads cannot be shared by more GPUs.`);
  return notes;
}

function thinkingNote({ thinking }: EngineFacts): string[] {
  if (thinking !== "always") return [];
  return [
    "The reasoning parser takes everything before </think> for thinking. A child that does not always think answers better " +
      "without it: leave it out if answers come empty.",
  ];
}

function vllm(facts: EngineFacts, options: EngineOptions): Made {
  const { gpusPerNode, location, name } = options;
  const gpus = gpusFor(facts, options);
  const nodes = Math.ceil(gpus / gpusPerNode);
  const tensorParallel = Math.min(gpus, gpusPerNode);
  const { reasoning, tool } = parsersOf(facts, {
    ...{ always: "deepseek_r1", "by-template": "deepseek_v3" },
    ...{ "deepseek-v3": "deepseek_v3", "deepseek-v3.1": "deepseek_v31" },
  });
  const base = [
    ...[
      "vllm",
      "serve",
      location,
      "--served-model-name",
      name,
      "--tensor-parallel-size",
      String(tensorParallel),
    ],
    ...revisionOf(options),
    ...(nodes > 1 ? ["--pipeline-parallel-size", String(nodes)] : []),
    ...(facts.needsRemoteCode ? ["--trust-remote-code"] : []),
    ...(reasoning === undefined ? [] : ["--reasoning-parser", reasoning]),
    ...(tool === undefined ? [] : ["--enable-auto-tool-choice", "--tool-call-parser", tool]),
    // With pipeline stages drafts are not supported.
    ...(facts.mtpLayers > 0 && nodes === 1
      ? ["--speculative-config", `'{"method": "mtp", "num_speculative_tokens": 1}'`]
      : []),
  ];
  const notes = [...sizeNote(facts, options), ...blockNote(facts, tensorParallel), ...thinkingNote(facts)];
  if (facts.mtpLayers > 0)
    notes.push(
      nodes > 1
        ? "The MTP layer is there and is left alone: drafts do not go with pipeline stages."
        : 'The MTP layer drafts one token; before vLLM 0.11 its method is called "deepseek_mtp".',
    );
  if (nodes === 1) return { notes, commands: [{ about: "vLLM", command: base }] };
  const ranks = Array.from({ length: nodes }, (_, rank) => ({
    about: `vLLM, node ${rank}`,
    command: [
      ...[...base, "--nnodes", String(nodes), "--node-rank", String(rank), "--master-addr", '"$HEAD"'],
      ...(rank > 0 ? ["--headless"] : []),
    ],
  }));
  notes.push("HEAD is the address of node 0. Older versions need a Ray cluster instead of --nnodes.");
  return { notes, commands: ranks };
}

function sglang(facts: EngineFacts, options: EngineOptions): Made {
  const { gpusPerNode, location, name } = options;
  const gpus = gpusFor(facts, options);
  const nodes = Math.ceil(gpus / gpusPerNode);
  const { reasoning, tool } = parsersOf(facts, {
    ...{ always: "deepseek-r1", "by-template": "deepseek-v3" },
    ...{ "deepseek-v3": "deepseekv3", "deepseek-v3.1": "deepseekv31" },
  });
  const drafts = [
    "--speculative-num-steps",
    "1",
    "--speculative-eagle-topk",
    "1",
    "--speculative-num-draft-tokens",
    "2",
  ];
  const base = [
    ...["python3", "-m", "sglang.launch_server", "--model-path", location, "--served-model-name", name],
    ...revisionOf(options),
    ...["--tp", String(gpus)],
    ...(facts.needsRemoteCode ? ["--trust-remote-code"] : []),
    ...(reasoning === undefined ? [] : ["--reasoning-parser", reasoning]),
    ...(tool === undefined ? [] : ["--tool-call-parser", tool]),
    ...(facts.mtpLayers > 0 ? ["--speculative-algorithm", "EAGLE", ...drafts] : []),
  ];
  const notes = [...sizeNote(facts, options), ...blockNote(facts, gpus), ...thinkingNote(facts)];
  if (facts.mtpLayers > 0) notes.push("EAGLE without a draft model means the MTP layer of the checkpoint.");
  if (nodes === 1) return { notes, commands: [{ about: "SGLang", command: base }] };
  const ranks = Array.from({ length: nodes }, (_, rank) => ({
    about: `SGLang, node ${rank}`,
    command: [
      ...[...base, "--nnodes", String(nodes), "--node-rank", String(rank)],
      ...["--dist-init-addr", '"$HEAD:20000"'],
    ],
  }));
  notes.push("HEAD is the address of node 0.");
  return { notes, commands: ranks };
}

function revisionOf({ revision }: EngineOptions): string[] {
  return revision === undefined ? [] : ["--revision", revision];
}

/** FP8 blocks are not cut: what a GPU gets of an expert's rows must be whole blocks. */
function blockNote({ isFp8, expertRows, blockRows }: EngineFacts, tensorParallel: number): string[] {
  if (!isFp8 || expertRows === undefined || tensorParallel === 1) return [];
  if (expertRows % tensorParallel === 0 && (expertRows / tensorParallel) % blockRows === 0) return [];
  return [
    `Experts of ${expertRows} rows do not come out in whole blocks of ${blockRows} on ${tensorParallel} GPUs: ` +
      "share experts out whole instead (--enable-expert-parallel in vLLM, --ep-size in SGLang).",
  ];
}

function llamaCpp(facts: EngineFacts, { location, name, gpuBytes, fetch, gguf }: EngineOptions): Made {
  const server = (model: readonly string[]) => ({
    about: "llama.cpp: the server",
    command: [
      ...["llama-server", ...model, "--alias", name, "-c", "16384", "-ngl", "99", "--jinja"],
      ...(facts.thinking === "none" ? [] : ["--reasoning-format", "deepseek"]),
      ...["--port", "8080"],
    ],
  });
  if (gguf) return { notes: [], commands: [server(gguf)] };
  const wide = facts.isFp8 ? 2 * facts.bytes : facts.bytes;
  const [full, small] = [`${name}-bf16.gguf`, `${name}-Q4_K_M.gguf`];
  const commands = [
    ...(fetch ? [{ about: "the checkpoint, to this machine", command: fetch }] : []),
    {
      about: "llama.cpp: from the checkpoint to GGUF, in its own folder of sources",
      command: [
        ...["python3", "convert_hf_to_gguf.py", fetch ? name : location],
        ...["--outtype", "bf16", "--outfile", full],
      ],
    },
    {
      about: "llama.cpp: to about 4.8 bits a weight",
      command: ["llama-quantize", full, small, "Q4_K_M"],
    },
    server(["-m", small]),
  ];
  const smallBytes = (wide * 4.8) / 16;
  const notes = [
    `The BF16 file has ${formatBytes(wide)}${facts.isFp8 ? ", twice the FP8" : ""}; Q4_K_M about ${formatBytes(smallBytes)}.`,
  ];
  if (smallBytes > 0.9 * gpuBytes)
    notes.push(
      `That is more than one GPU of ${formatBytes(gpuBytes)}: several share it, or --n-cpu-moe N keeps the experts of N layers in main memory.`,
    );
  if (facts.mtpLayers > 0) notes.push("The MTP layer is converted or left out, and not used for drafts.");
  return { notes, commands };
}
