/**
 * The engine of a page: the functions that the command line calls, over the places of the page. Models that are
 * loaded, and the conversations with them, live here.
 */
import { BuildError, CheckpointError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { build } from "../build/build.ts";
import { readChildRecord } from "../build/child.ts";
import type { VerifyEvent } from "../build/events.ts";
import { verify } from "../build/verify.ts";
import type { Store } from "../checkpoint/source.ts";
import { type LanguageModel, loadModel } from "../library/language-model.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { planRecipe } from "../plan/plan-recipe.ts";
import { type PlanSummary, planSummary } from "../plan/summary.ts";
import { formOf, type RecipeForm, type RecipeWords, recipeOfForm, recipeWords } from "../recipe/form.ts";
import { parseRecipe } from "../recipe/parse.ts";
import { recipeTemplate } from "../recipe/template.ts";
import { newStats } from "../runtime/generate.ts";
import type { Sequence } from "../runtime/model.ts";
import { recipeAt } from "../study/child-recipe.ts";
import { compare } from "../survey/compare.ts";
import { inspect } from "../survey/inspect.ts";
import { selectRows, tensorRows } from "../survey/tensor-rows.ts";
import { gatherOutput, type OutputEvent } from "../text/output-events.ts";
import type { EngineRequests, LoadOptions, Place, RecipeText, RequestName } from "./engine-api.ts";
import { HttpStore } from "./http-store.ts";
import { KeptStore, keep, keptStores, removeKept } from "./kept-store.ts";
import { parseModelsFile } from "./models-file.ts";
import { addFolder, addModels, addPlace, allPlaces, placeAt, removePlace, requirePlace } from "./places.ts";
import { hasThreads } from "./scope.ts";
import { padded, TAR_BLOCK, tarBytes, tarHeader } from "./tar-file.ts";

export interface Call<Name extends RequestName> {
  emit: (event: EngineRequests[Name]["event"]) => void;
  signal: AbortSignal;
}

type Methods = {
  [Name in RequestName]: (
    params: EngineRequests[Name]["params"],
    call: Call<Name>,
  ) => Promise<EngineRequests[Name]["value"]>;
};

interface Loaded {
  model: LanguageModel;
  conversations: Map<string, Sequence>;
}

interface LoadChoice {
  source: BuildPlan | string;
  options: LoadOptions;
}

/** Conversations that the cache has room for; its memory is taken as they come. */
const SEQUENCES = 4;
const STATS_INTERVAL_MS = 100;
/** Bytes a second of a build in memory, its verification not counted. */
const BUILD_SPEED = 50e6;
const DEFAULT_FILE = "/recipe.yaml";

export class Engine implements Methods {
  readonly #models = new Map<number, Loaded>();
  #numLoaded = 0;
  /** Where builds are under way. */
  readonly #building = new Set<string>();

  async start({ models }: { models: string }): Promise<EngineRequests["start"]["value"]> {
    addModels(parseModelsFile(await fetchText(models), models), models);
    for (const store of await keptStores()) addPlace(store);
    return { threads: hasThreads, cores: navigator.hardwareConcurrency || 1, version: VERSION };
  }

  async list(): Promise<Place[]> {
    return Promise.all(allPlaces().map(describe));
  }

  inspect({ location }: { location: string }): Promise<EngineRequests["inspect"]["value"]> {
    return inspect(location);
  }

  compare(
    { base, other, ...options }: EngineRequests["compare"]["params"],
    { emit, signal }: Call<"compare">,
  ): Promise<EngineRequests["compare"]["value"]> {
    return compare(base, other, { ...options, workers: 1, signal, onEvent: emit });
  }

  async tensors({
    location,
    offset,
    limit,
    ...query
  }: EngineRequests["tensors"]["params"]): Promise<EngineRequests["tensors"]["value"]> {
    const rows = selectRows(await tensorRows(location), query);
    return { total: rows.length, rows: rows.slice(offset, offset + limit) };
  }

  async plan({ recipe: text, file = DEFAULT_FILE, lambda, locations = {} }: RecipeText): Promise<BuildPlan> {
    const recipe = parseRecipe(text, { file });
    return planRecipe(lambda ? recipeAt(recipe, { lambda }) : recipe, { locations });
  }

  async planSummary(params: RecipeText): Promise<PlanSummary> {
    const placeOf = (location: string) => placeAt(location)?.label ?? location;
    return planSummary(await this.plan(params), { workers: 1, bytesPerSecond: BUILD_SPEED, placeOf });
  }

  async readRecipe({ recipe }: { recipe: string }): Promise<RecipeForm> {
    return formOf(parseRecipe(recipe));
  }

  async writeRecipe({ form }: { form: RecipeForm }): Promise<string> {
    return recipeOfForm(form);
  }

  async recipeTemplate({ base, other, lambda }: EngineRequests["recipeTemplate"]["params"]): Promise<string> {
    const weights = { [other.name]: lambda };
    return recipeTemplate({ parents: [base, other], base: base.name, roles: ["routed-experts"], weights });
  }

  async recipeWords(): Promise<RecipeWords> {
    return recipeWords();
  }

  async build(
    { verify: isVerified = true, ...params }: EngineRequests["build"]["params"],
    { emit, signal }: Call<"build">,
  ): Promise<EngineRequests["build"]["value"]> {
    const plan = await this.plan(params);
    const location = params.location ?? `/children/${plan.digest.slice(0, 12)}`;
    if (this.#building.has(location))
      throw new BuildError("locked", `Cannot build in "${location}": another build is under way there`);
    const isNew = placeAt(location) === undefined;
    const store = isNew ? addFolder(location) : requirePlace(location);
    this.#building.add(location);
    try {
      const { seconds, planDigest } = await build(plan, location, {
        workers: 1,
        signal,
        onEvent: (event) => emit({ kind: "build", event }),
      });
      const onEvent = (event: VerifyEvent) => emit({ kind: "verify", event });
      const verified = isVerified ? await verify(location, { all: true, signal, onEvent }) : undefined;
      const { shards } = (await readChildRecord(store))!;
      const files = await store.list();
      return { location, planDigest, seconds, shards, files, findings: verified?.findings };
    } catch (error) {
      if (isNew) removePlace(location); // half a child is of no use: it would go with the page
      throw error;
    } finally {
      this.#building.delete(location);
    }
  }

  async read({ location, name }: { location: string; name: string }): Promise<Uint8Array<ArrayBuffer>> {
    const source = await requirePlace(location).open(name);
    try {
      const bytes = new Uint8Array(source.byteLength);
      await source.read(bytes, 0);
      return bytes;
    } finally {
      await source.close();
    }
  }

  async archive({ location }: { location: string }): Promise<Uint8Array<ArrayBuffer>> {
    const store = requirePlace(location);
    const files = await store.list();
    const archive = new Uint8Array(tarBytes(files));
    let at = 0;
    for (const { name, byteLength } of files) {
      archive.set(tarHeader(`${store.label}/${name}`, byteLength), at);
      at += TAR_BLOCK;
      const source = await store.open(name);
      try {
        await source.read(archive.subarray(at, at + byteLength), 0);
      } finally {
        await source.close();
      }
      at += padded(byteLength);
    }
    return archive;
  }

  async keep({ location }: { location: string }): Promise<Place> {
    const kept = await keep(requirePlace(location));
    addPlace(kept);
    return describe(kept);
  }

  async remove({ location }: { location: string }): Promise<undefined> {
    const store = requirePlace(location);
    if (store instanceof HttpStore)
      throw new CheckpointError("read-only", `Cannot remove "${location}": it is a file of the server`);
    if (store instanceof KeptStore) await removeKept(store);
    removePlace(location);
  }

  async load(
    params: EngineRequests["load"]["params"],
    { emit, signal }: Call<"load">,
  ): Promise<EngineRequests["load"]["value"]> {
    const { source, options } = await this.#choiceOf(params);
    const model = await loadModel(source, {
      sequences: SEQUENCES,
      ...options,
      ...(hasThreads ? {} : { threads: 1 }),
      signal,
      onEvent: emit,
    });
    const id = ++this.#numLoaded;
    this.#models.set(id, { model, conversations: new Map() });
    const { config, context, hasMtp, need, source: weights } = model.engine;
    return {
      model: id,
      label: weights.label,
      context: Math.min(config.maxPositions, context),
      threads: need.numRanks,
      weightBytes: need.weightBytes,
      hasMtp,
    };
  }

  /** What to load, and how: a plan, or the location of a checkpoint. */
  async #choiceOf(params: EngineRequests["load"]["params"]): Promise<LoadChoice> {
    if ("recipe" in params) {
      const { recipe: _, file: __, lambda: ___, locations: ____, ...options } = params;
      return { source: await this.plan(params), options };
    }
    const { location, ...options } = params;
    return { source: requirePlace(location).location, options };
  }

  async generate(
    { model: id, messages, conversation, ...options }: EngineRequests["generate"]["params"],
    { emit, signal }: Call<"generate">,
  ): Promise<EngineRequests["generate"]["value"]> {
    const { model, conversations } = this.#loaded(id);
    const sequence =
      conversation === undefined ? undefined : (conversations.get(conversation) ?? model.newSequence());
    if (conversation !== undefined) conversations.set(conversation, sequence!);
    const stats = newStats();
    const events: OutputEvent[] = [];
    let toldAt = performance.now();
    const answer = model.generate(messages, {
      ...options,
      ...(sequence ? { sequence } : {}),
      stats,
      signal,
      onPrompt: (done, total) => emit({ kind: "prompt", done, total }),
    });
    for await (const event of answer) {
      events.push(event);
      emit(event);
      if (performance.now() - toldAt < STATS_INTERVAL_MS) continue;
      toldAt = performance.now();
      emit({ kind: "stats", stats });
    }
    return { output: gatherOutput(events), stats };
  }

  async generateIds(
    { model: id, ids, maxTokens }: EngineRequests["generateIds"]["params"],
    { emit, signal }: Call<"generateIds">,
  ): Promise<number[]> {
    const { model } = this.#loaded(id);
    const generated: number[] = [];
    const options = maxTokens === undefined ? { signal } : { signal, maxTokens };
    for await (const next of model.generateIds(ids, options)) {
      generated.push(next);
      emit({ kind: "id", id: next });
    }
    return generated;
  }

  async forget({ model: id, conversation }: EngineRequests["forget"]["params"]): Promise<undefined> {
    const { model, conversations } = this.#loaded(id);
    const sequence = conversations.get(conversation);
    if (sequence) model.release(sequence);
    conversations.delete(conversation);
  }

  async prompt(
    { model: id, messages }: EngineRequests["prompt"]["params"],
    { signal }: Call<"prompt">,
  ): Promise<EngineRequests["prompt"]["value"]> {
    const text = await this.#loaded(id).model.text();
    const rendered = await text.render(messages, { signal });
    return { text: rendered, ids: text.tokenizer.encode(rendered) };
  }

  async dispose({ model: id }: { model?: number }): Promise<undefined> {
    const ids = id === undefined ? [...this.#models.keys()] : [id];
    for (const each of ids) {
      const { model } = this.#loaded(each);
      this.#models.delete(each);
      await model.dispose();
    }
  }

  #loaded(id: number): Loaded {
    const loaded = this.#models.get(id);
    if (loaded) return loaded;
    throw new RangeError(`Cannot use model ${id}: it is not loaded, wanted one that load() has given`);
  }
}

async function describe(store: Store): Promise<Place> {
  const files = await store.list();
  return {
    location: store.location,
    label: store.label,
    kind: store instanceof HttpStore ? "models" : store instanceof KeptStore ? "kept" : "memory",
    byteLength: files.reduce((sum, { byteLength }) => sum + byteLength, 0),
    files,
  };
}

async function fetchText(url: string): Promise<string> {
  const fail = (what: string, cause?: unknown): never => {
    throw new CheckpointError("read-failed", `Cannot read "${url}": ${what}`, { cause });
  };
  let response: Response | undefined;
  try {
    response = await fetch(url, { cache: "no-cache" }); // hashes of other files would fit none
  } catch (error) {
    fail(`the server cannot be reached (${(error as Error).message})`, error);
  }
  if (!response!.ok) fail(`the server answers with status ${response!.status}, wanted 200`);
  return response!.text();
}
