/**
 * llama.cpp through node-llama-cpp, where someone has installed it: it is no dependency of the project.
 *
 *   npm install --no-save --ignore-scripts node-llama-cpp         here, or
 *   npm install --prefix DIR --ignore-scripts node-llama-cpp      with CHIMERA_PEER=DIR
 *
 * What is declared is what is used. Tokens go in as ids.
 */
import { join } from "node:path";
import { pathToFileURL } from "node:url";

interface Output {
  next: { token?: number | null; logits?: ReadonlyMap<number, number> };
}

interface GenerateNext {
  token?: boolean;
  logits?: boolean;
  options?: { temperature: number };
}

interface LlamaSequence {
  clearHistory(): Promise<void>;
  controlledEvaluate(
    input: readonly (number | readonly [number, { generateNext: GenerateNext }])[],
  ): Promise<readonly (Output | undefined)[]>;
}

interface LlamaContext {
  getSequence(): LlamaSequence;
  dispose(): Promise<void>;
}

interface LlamaModel {
  createContext(options: { contextSize: number; threads: number }): Promise<LlamaContext>;
  tokenize(text: string, specialTokens: boolean, options: "trimLeadingSpace"): number[];
  dispose(): Promise<void>;
}

interface Llama {
  llamaCppRelease: { release: string };
  loadModel(options: { modelPath: string; gpuLayers: number }): Promise<LlamaModel>;
  dispose(): Promise<void>;
}

interface NodeLlamaCpp {
  getLlama(options: object): Promise<Llama>;
}

const GREEDY = { token: true, options: { temperature: 0 } };

/** The peer, on the CPU; undefined where it is not installed. */
export async function openPeer(): Promise<Peer | undefined> {
  const folder = process.env.CHIMERA_PEER;
  const specifier: string = folder
    ? pathToFileURL(join(folder, "node_modules/node-llama-cpp/dist/index.js")).href
    : "node-llama-cpp";
  let module: NodeLlamaCpp;
  try {
    module = (await import(specifier)) as NodeLlamaCpp;
  } catch (error) {
    if ((error as { code?: string }).code === "ERR_MODULE_NOT_FOUND") return undefined;
    throw error;
  }
  const llama = await module.getLlama({
    ...{ build: "never", gpu: false, progressLogs: false, logLevel: "error" },
    maxThreads: 0, // a context gets the threads that it asks for
  });
  return new Peer(llama);
}

export class Peer {
  readonly #llama: Llama;

  constructor(llama: Llama) {
    this.#llama = llama;
  }

  get name(): string {
    return `llama.cpp ${this.#llama.llamaCppRelease.release}`;
  }

  async load(path: string): Promise<PeerModel> {
    return new PeerModel(await this.#llama.loadModel({ modelPath: path, gpuLayers: 0 }));
  }

  async dispose(): Promise<void> {
    await this.#llama.dispose();
  }
}

export class PeerModel {
  readonly #model: LlamaModel;

  constructor(model: LlamaModel) {
    this.#model = model;
  }

  async newContext(options: { contextSize: number; threads: number }): Promise<PeerContext> {
    return new PeerContext(await this.#model.createContext(options));
  }

  /** Ids of a text; marks in it are marks. */
  tokenize(text: string): number[] {
    return this.#model.tokenize(text, true, "trimLeadingSpace");
  }

  async dispose(): Promise<void> {
    await this.#model.dispose();
  }
}

export class PeerContext {
  readonly #context: LlamaContext;
  readonly #sequence: LlamaSequence;

  constructor(context: LlamaContext) {
    this.#context = context;
    this.#sequence = context.getSequence();
  }

  /** Logits behind each token: (tokens, vocab). Forgets what was before. */
  async logits(tokens: readonly number[], vocab: number): Promise<Float32Array> {
    await this.#sequence.clearHistory();
    const input = tokens.map((token) => [token, { generateNext: { logits: true } }] as const);
    const all = new Float32Array(tokens.length * vocab);
    for (const [row, output] of (await this.#sequence.controlledEvaluate(input)).entries())
      for (const [token, logit] of output!.next.logits!) all[row * vocab + token] = logit;
    return all;
  }

  /** Computes a prompt and then `count` tokens, each the most likely one. Forgets what was before. */
  async generate(
    prompt: readonly number[],
    count: number,
  ): Promise<{ tokens: number[]; promptSeconds: number; seconds: number }> {
    await this.#sequence.clearHistory();
    const startedAt = performance.now();
    const last = [prompt.at(-1)!, { generateNext: GREEDY }] as const;
    let token = tokenOf(await this.#sequence.controlledEvaluate([...prompt.slice(0, -1), last]));
    const decodingAt = performance.now();
    const tokens = [token];
    while (tokens.length < count) {
      token = tokenOf(await this.#sequence.controlledEvaluate([[token, { generateNext: GREEDY }]]));
      tokens.push(token);
    }
    const now = performance.now();
    return {
      tokens,
      promptSeconds: (decodingAt - startedAt) / 1000,
      seconds: (now - decodingAt) / 1000,
    };
  }

  async dispose(): Promise<void> {
    await this.#context.dispose();
  }
}

function tokenOf(outputs: readonly (Output | undefined)[]): number {
  const token = outputs.at(-1)?.next.token;
  if (token == null) throw new Error("internal: llama.cpp gave no token");
  return token;
}
