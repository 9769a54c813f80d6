/**
 * The engine behind the studio where there is no server: the same functions in a worker of the page. Children are built
 * in the page's memory and kept in the browser's storage where it has one; recipes are children without being built, as
 * a server's are.
 */
import type { EngineRequests, Place, RecipeText } from "../browser/engine-api.ts";
import { type EngineClient, EngineError as WorkerFault } from "../browser/engine-client.ts";
import type {
  CheckpointEntry,
  CompareReport,
  CompareStep,
  InspectReport,
  NewChild,
  Planning,
  Problem,
  RecipeReading,
  RunsList,
} from "../server/api.ts";
import {
  type ChatAsking,
  type ChatDelta,
  type ChatEnd,
  EngineError,
  type StudioEngine,
} from "../studio/engine.ts";
import { BrowserBuilds } from "./browser-builds.ts";

/** Text files that are shown, as a server shows them. */
const SHOWN_FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "chimera.json",
  "README.md",
];
/** Models in memory at a time: two parents, a child, and the one that takes its place. */
const MOST_LOADED = 4;

interface Child {
  entry: CheckpointEntry;
  source: RecipeText;
}

interface Loaded {
  /** What it was loaded from: another recipe of the same name is another model. */
  key: string;
  model: Promise<number>;
  numAnswers: number;
}

export class BrowserEngine implements StudioEngine {
  readonly #client: EngineClient;
  readonly #version: string;
  readonly #children = new Map<string, Child>();
  readonly #builds: BrowserBuilds;
  /** In order of use. */
  #loaded: Loaded[] = [];
  readonly #inspected = new Map<string, Promise<InspectReport>>();

  private constructor(client: EngineClient, version: string) {
    this.#client = client;
    this.#version = version;
    this.#builds = new BrowserBuilds(client, async (recipe) => this.#sourceOf(recipe));
  }

  /** Reads the list of models that lies beside the page; the child of the first two is there from the start. */
  static async start(client: EngineClient, models: string): Promise<BrowserEngine> {
    const { version } = await client.start(models);
    const engine = new BrowserEngine(client, version);
    const [base, other] = await engine.#places();
    if (base && other) {
      const recipe = await engine.recipeTemplate({ base: base.label, other: other.label });
      await engine.makeChild({ name: "r1t", recipe });
    }
    return engine;
  }

  async info(): ReturnType<StudioEngine["info"]> {
    return { version: this.#version, builds: "this browser", hasRuns: false };
  }

  async checkpoints(): Promise<CheckpointEntry[]> {
    const places = await this.#places();
    const entries = places.map(async ({ label, location, kind, byteLength }): Promise<CheckpointEntry> => {
      const entry = {
        id: label,
        kind: "checkpoint" as const,
        state: this.#stateOf(location),
        place: PLACE_WORDS[kind],
      };
      const report = await this.inspect(label).catch(() => undefined);
      if (!report) return { ...entry, bytes: byteLength };
      const { totals, architecture } = report;
      return {
        ...entry,
        bytes: totals.bytes,
        tensors: totals.tensors,
        parameters: totals.elements,
        architecture: architecture.label,
      };
    });
    const children = [...this.#children.values()].map(({ entry, source }) => ({
      ...entry,
      state: this.#stateOf(keyOf(source)),
    }));
    return [...(await Promise.all(entries)), ...children];
  }

  async inspect(id: string): Promise<InspectReport> {
    const location = await this.#locationOf(id);
    const known = this.#inspected.get(location) ?? this.#ask("inspect", { location });
    this.#inspected.set(location, known);
    return known;
  }

  async tensors(
    id: string,
    query: Parameters<StudioEngine["tensors"]>[1],
  ): ReturnType<StudioEngine["tensors"]> {
    return this.#ask("tensors", { location: await this.#locationOf(id), ...query });
  }

  async fileNames(id: string): Promise<string[]> {
    const { files } = await this.#place(id);
    return SHOWN_FILES.filter((name) => files.some((file) => file.name === name));
  }

  async fileText(id: string, name: string): Promise<string> {
    const bytes = await this.#ask("read", { location: await this.#locationOf(id), name });
    return new TextDecoder().decode(bytes);
  }

  async compare(
    { base, other, sample }: Parameters<StudioEngine["compare"]>[0],
    { onStep, signal }: { onStep: (step: CompareStep) => void; signal: AbortSignal },
  ): Promise<CompareReport> {
    const places = { base: await this.#locationOf(base), other: await this.#locationOf(other) };
    const params = { ...places, ...(sample ? { sample } : {}) };
    return told(this.#client.request("compare", params, { onEvent: onStep, signal }), signal);
  }

  recipeWords(): ReturnType<StudioEngine["recipeWords"]> {
    return this.#ask("recipeWords", {});
  }

  readRecipe(recipe: string): Promise<RecipeReading> {
    return orProblems(async () => ({ form: await this.#ask("readRecipe", { recipe }) }));
  }

  writeRecipe(form: Parameters<StudioEngine["writeRecipe"]>[0]): Promise<string> {
    return this.#ask("writeRecipe", { form });
  }

  recipeTemplate({
    base,
    other,
    lambda = 1,
  }: Parameters<StudioEngine["recipeTemplate"]>[0]): Promise<string> {
    const parent = (id: string) => ({ name: id.replace(/[^A-Za-z0-9._-]+/g, "-"), path: id });
    return this.#ask("recipeTemplate", { base: parent(base), other: parent(other), lambda });
  }

  plan(recipe: string): Promise<Planning> {
    return orProblems(async () => ({ plan: await this.#ask("planSummary", await this.#sourceOf(recipe)) }));
  }

  async builds(): ReturnType<StudioEngine["builds"]> {
    return this.#builds.list();
  }

  startBuild(name: string, recipe: string): ReturnType<StudioEngine["startBuild"]> {
    return this.#builds.start(name, recipe);
  }

  watchBuild(...args: Parameters<StudioEngine["watchBuild"]>): Promise<void> {
    return this.#builds.watch(...args);
  }

  pauseBuild(id: string): ReturnType<StudioEngine["pauseBuild"]> {
    return this.#builds.pause(id);
  }

  resumeBuild(id: string): ReturnType<StudioEngine["resumeBuild"]> {
    return this.#builds.resume(id);
  }

  removeBuild(id: string): ReturnType<StudioEngine["removeBuild"]> {
    return this.#builds.remove(id);
  }

  async makeChild({ name, recipe, lambda }: NewChild): Promise<CheckpointEntry> {
    const source: RecipeText = { ...(await this.#sourceOf(recipe)), ...(lambda ? { lambda } : {}) };
    await this.#ask("plan", source); // what is wrong with it is told now
    const entry: CheckpointEntry = {
      id: name,
      kind: "child",
      state: "unloaded",
      place: "made here",
      recipe,
      madeHere: true,
    };
    this.#children.set(name, { entry, source });
    return entry;
  }

  async removeChild(name: string): Promise<void> {
    this.#children.delete(name);
  }

  async chat(
    { model: id, messages, temperature, seed, maxTokens }: ChatAsking,
    { onDelta, signal }: { onDelta: (delta: ChatDelta) => void; signal: AbortSignal },
  ): Promise<ChatEnd> {
    const startedAt = performance.now();
    const loaded = await this.#load(id);
    let firstTokenMs: number | undefined;
    loaded.numAnswers++;
    try {
      const params = {
        ...{ model: await loaded.model, messages: messages.map((message) => ({ ...message })) },
        ...(temperature === undefined ? {} : { temperature }),
        ...(seed === undefined ? {} : { seed }),
        ...(maxTokens === undefined ? {} : { maxTokens }),
      };
      const onEvent = (event: EngineRequests["generate"]["event"]) => {
        if (event.kind !== "content" && event.kind !== "reasoning") return;
        firstTokenMs ??= performance.now() - startedAt;
        onDelta({ [event.kind]: event.text });
      };
      const answer = this.#client.request("generate", params, { onEvent, signal });
      const { output, stats } = await told(answer, signal);
      return {
        ...{ finish: output.reason ?? "stop", tokens: stats.tokens, promptTokens: stats.promptTokens },
        ...(stats.seconds > 0 ? { tokensPerSecond: (stats.tokens - 1) / stats.seconds } : {}),
        ...(firstTokenMs === undefined ? {} : { firstTokenMs }),
      };
    } finally {
      loaded.numAnswers--;
      void this.#forgetIdle();
    }
  }

  async runs(): Promise<RunsList> {
    return { runs: [], studies: [] };
  }

  run(): never {
    throw noRuns();
  }

  records(): never {
    throw noRuns();
  }

  study(): never {
    throw noRuns();
  }

  studyFile(): never {
    throw noRuns();
  }

  #ask<Name extends keyof EngineRequests>(
    name: Name,
    params: EngineRequests[Name]["params"],
  ): Promise<EngineRequests[Name]["value"]> {
    return told(this.#client.request(name, params));
  }

  #places(): Promise<Place[]> {
    return this.#ask("list", {});
  }

  async #place(id: string): Promise<Place> {
    const place = (await this.#places()).find(({ label }) => label === id);
    if (place) return place;
    throw fault("not_found", `There is no checkpoint "${id}" in this browser`);
  }

  async #locationOf(id: string): Promise<string> {
    return (await this.#place(id)).location;
  }

  /** A recipe whose parents are named by ids. Throws EngineError with the recipe's problems. */
  async #sourceOf(recipe: string): Promise<RecipeText> {
    const { parents } = await this.#ask("readRecipe", { recipe });
    const places = new Map((await this.#places()).map(({ label, location }) => [label, location]));
    const locations = parents.map(({ name, path }) => [name, places.get(path) ?? path]);
    return { recipe, locations: Object.fromEntries(locations) as Record<string, string> };
  }

  #stateOf(key: string): CheckpointEntry["state"] {
    return this.#loaded.some((loaded) => loaded.key === key) ? "ready" : "unloaded";
  }

  async #load(id: string): Promise<Loaded> {
    const child = this.#children.get(id);
    const params = child ? child.source : { location: await this.#locationOf(id) };
    const key = keyOf(params);
    const known = this.#loaded.find((loaded) => loaded.key === key);
    this.#loaded = this.#loaded.filter((loaded) => loaded !== known);
    const loaded = known ?? {
      key,
      model: this.#ask("load", params).then(({ model }) => model),
      numAnswers: 0,
    };
    this.#loaded.push(loaded);
    loaded.model.catch(() => {
      this.#loaded = this.#loaded.filter((other) => other !== loaded);
    });
    return loaded;
  }

  /** Ends the models that were not asked for longest. */
  async #forgetIdle(): Promise<void> {
    for (const loaded of [...this.#loaded]) {
      if (this.#loaded.length <= MOST_LOADED) return;
      if (loaded.numAnswers > 0) continue;
      this.#loaded = this.#loaded.filter((other) => other !== loaded);
      await this.#ask("dispose", { model: await loaded.model });
    }
  }
}

const PLACE_WORDS: Record<Place["kind"], string> = {
  models: "beside this page",
  memory: "in this page's memory",
  kept: "kept in this browser",
};

function keyOf(source: RecipeText | { location: string }): string {
  return "location" in source ? source.location : JSON.stringify(source);
}

function fault(code: string, message: string): EngineError {
  return new EngineError({ message, type: "invalid_request_error", param: null, code });
}

function noRuns(): EngineError {
  return fault("no_runs", "There are no runs without a server: chimera serve --runs FOLDER shows them");
}

/** Errors of the worker as pages know them. */
async function told<T>(answer: Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    if (signal?.aborted) throw new DOMException("The request was stopped", "AbortError");
    if (!(error instanceof WorkerFault)) throw error;
    const { message, code = null, note, problems } = error;
    throw new EngineError({
      ...{ message, type: "invalid_request_error", param: null, code },
      ...(note ? { note } : {}),
      ...(problems.length > 0 ? { problems } : {}),
    });
  }
}

/** What is wrong with a recipe is an answer, as a server gives it. */
async function orProblems<T extends object>(action: () => Promise<T>): Promise<T | { problems: Problem[] }> {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    const { problems, message, code, note } = error.details;
    if (problems) return { problems: [...problems] };
    return { problems: [{ code: code ?? "failed", message, ...(note ? { note } : {}) }] };
  }
}
