/**
 * The models of a server, by name: loaded on first use, within a budget of memory; who has been idle longest makes
 * room for who is asked for.
 */

import { formatBytes } from "../base/format.ts";
import { nearest } from "../base/nearest.ts";
import { ApiError, apiErrorOf } from "./api-error.ts";
import {
  isWantOfMemory,
  type LoadedModel,
  type Need,
  ServedModel,
  type ServedSource,
  type ServingOptions,
} from "./served-model.ts";
import type { Deadline } from "./serving.ts";

export interface ModelsOptions extends ServingOptions {
  /** Bytes for weights, buffers and caches of all models together. Default: what is free. */
  memory?: number;
  /** After so long without a request a model is unloaded. Default 30 minutes; 0: never. */
  idleMs?: number;
}

const DEFAULT_IDLE_MS = 30 * 60_000;
const LEAST_CONTEXT = 1024;

export class Models {
  readonly #options: ModelsOptions;
  readonly #models = new Map<string, ServedModel>();
  /** No longer served, and still in memory. */
  readonly #retiring = new Set<ServedModel>();
  readonly #controller = new AbortController();
  /** Loads one model after the other: each must see what the others take. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #watch: NodeJS.Timeout | undefined;

  constructor(sources: readonly ServedSource[], options: ModelsOptions = {}) {
    this.#options = options;
    for (const source of sources) this.add(source);
    const idleMs = options.idleMs ?? DEFAULT_IDLE_MS;
    if (idleMs > 0) {
      this.#watch = setInterval(
        () => void this.#unloadIdle(idleMs).catch(() => {}),
        Math.min(idleMs, 10_000),
      );
      this.#watch.unref();
    }
  }

  add(source: ServedSource): void {
    this.#models.set(source.id, new ServedModel(source, this.#options));
  }

  /** Adds a model; one of its name is taken away, when the answers that it is giving are over. */
  replace(source: ServedSource): void {
    const old = this.#models.get(source.id);
    this.add(source);
    if (old) this.#retire(old).catch(() => {}); // its threads are gone: nothing is left to be told
  }

  has(id: string): boolean {
    return this.#models.has(id);
  }

  list(): ServedModel[] {
    return [...this.#models.values()];
  }

  /** Throws ApiError 404. */
  get(id: string): ServedModel {
    const model = this.#models.get(id);
    if (model) return model;
    const near = nearest(id, [...this.#models.keys()]);
    const note = near
      ? `Did you mean "${near}"?`
      : `There are ${[...this.#models.keys()].slice(0, 20).join(", ")}`;
    const message = `The model "${id.slice(0, 200)}" does not exist`;
    throw new ApiError(404, message, { param: "model", code: "model_not_found", note });
  }

  /** Takes a model away; answers that are under way end first. */
  async remove(id: string): Promise<void> {
    const model = this.get(id);
    this.#models.delete(id);
    await this.#retire(model);
  }

  async #retire(model: ServedModel): Promise<void> {
    this.#retiring.add(model);
    while (model.numRequests > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    await model.unload();
    this.#retiring.delete(model);
  }

  /**
   * Runs an action with a loaded model, which stays until the action is over. Throws ApiError 404, 429 when its
   * queue is full, 503 when there is no memory for it, and as the deadline does, which has the last word and ends
   * with the action.
   */
  async use<T>(
    id: string,
    { count, deadline }: { count: number; deadline?: Deadline },
    action: (model: LoadedModel) => Promise<T>,
  ): Promise<T> {
    let leave = () => {};
    try {
      const model = this.get(id);
      leave = model.enter(count);
      const loading = model.loaded ?? this.#load(model);
      return await action(await (deadline?.until(Promise.resolve(loading)) ?? loading));
    } catch (error) {
      deadline?.check();
      throw error;
    } finally {
      leave();
      deadline?.end();
    }
  }

  #load(model: ServedModel): Promise<LoadedModel> {
    const loading = this.#turn.then(() => model.loaded ?? this.#loadMakingRoom(model));
    this.#turn = loading.catch(() => {});
    return loading;
  }

  async #loadMakingRoom(model: ServedModel): Promise<LoadedModel> {
    for (;;) {
      // Whoever asked has gone while others were loaded; nobody would unload a model that is not served any more.
      if (model.numRequests === 0) throw new ApiError(499, "The client has gone away", { code: "aborted" });
      try {
        return await model.load((need) => this.#admit(model, need), this.#controller.signal);
      } catch (error) {
        if (!(error instanceof OverBudget) && !isWantOfMemory(error)) throw error;
        if (await this.#makeRoom(model)) continue;
        throw error instanceof OverBudget ? error.told : (apiErrorOf(error) ?? error);
      }
    }
  }

  /** Throws OverBudget for a model that does not fit beside those that are loaded. */
  #admit(model: ServedModel, { weightBytes, cacheBytes, context }: Need): void {
    const { memory } = this.#options;
    if (memory === undefined) return;
    const others = [...this.list(), ...this.#retiring].filter((other) => other !== model);
    const taken = others.reduce((sum, { loaded }) => sum + (loaded?.bytes ?? 0), 0);
    const bytes = weightBytes + cacheBytes;
    if (taken + bytes <= memory) return;
    const fits = Math.floor((memory - weightBytes) / (cacheBytes / context));
    const note =
      fits >= LEAST_CONTEXT && bytes > memory
        ? `With --context ${fits} it would fit by itself`
        : "The others are in use: try again later";
    const has = `it takes ${formatBytes(bytes)}, ${formatBytes(taken)} of ${formatBytes(memory)} are taken`;
    throw new OverBudget(
      new ApiError(503, `Cannot load "${model.source.id}": ${has}`, {
        code: "not-enough-memory",
        note,
        retryAfter: 30,
      }),
    );
  }

  /** Unloads the model that has been idle longest; false where there is none. */
  async #makeRoom(except: ServedModel): Promise<boolean> {
    const idle = this.list()
      .filter((model) => model !== except && model.loaded && model.idleMs > 0)
      .sort((a, b) => b.idleMs - a.idleMs);
    await idle[0]?.unload();
    return idle.length > 0;
  }

  async #unloadIdle(idleMs: number): Promise<void> {
    for (const model of this.list()) if (model.loaded && model.idleMs >= idleMs) await model.unload();
  }

  /** Ends all models. Answers that are under way fail. */
  async close(): Promise<void> {
    clearInterval(this.#watch);
    this.#controller.abort();
    await this.#turn;
    await Promise.all([...this.list(), ...this.#retiring].map((model) => model.unload()));
  }
}

class OverBudget extends Error {
  readonly told: ApiError;
  constructor(told: ApiError) {
    super(told.message);
    this.told = told;
  }
}
