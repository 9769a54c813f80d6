/**
 * One model that is served: loaded when somebody first asks for it, a batch that all requests share, unloaded when
 * nobody has asked for a while. Its queue is bounded: who comes when it is full is told when to come again.
 */
import { CheckpointError } from "../base/errors.ts";
import { modelReference } from "../library/model-source.ts";
import type { BuildPlan } from "../plan/plan.ts";
import { Batch } from "../runtime/batch.ts";
import { loadModel } from "../runtime/load-model.ts";
import type { ModelOptions } from "../runtime/model-options.ts";
import { type SamplingAdvice, samplingAdvice } from "../runtime/sampling-advice.ts";
import { attachText, type TextModel } from "../runtime/talk.ts";
import { ApiError } from "./api-error.ts";

export interface ServedSource {
  /** As clients name it. */
  id: string;
  kind: "checkpoint" | "child";
  /** A folder, or the file of a recipe or a plan; a plan that was made here. */
  source: string | BuildPlan;
  /** Seconds since 1970. */
  created: number;
  /** By a client, from a recipe that it sent. */
  isMadeHere?: boolean;
}

/** A model in memory. */
export interface LoadedModel {
  text: TextModel;
  batch: Batch;
  advice: SamplingAdvice;
  bytes: number;
}

export interface ServingOptions {
  /** Of loading. */
  model?: Omit<ModelOptions, "signal" | "onEvent" | "sequences" | "sharesCores" | "mtp">;
  /** Answers that are computed at a time. Default 32. */
  slots?: number;
  /** Requests that wait beyond those. Default 128. */
  maxWaiting?: number;
}

/** What loading would take of memory. */
export interface Need {
  weightBytes: number;
  cacheBytes: number;
  context: number;
}

const DEFAULT_SLOTS = 32;
const DEFAULT_WAITING = 128;

export class ServedModel {
  readonly source: ServedSource;
  readonly #options: ServingOptions;
  #loading: Promise<LoadedModel> | undefined;
  #loaded: LoadedModel | undefined;
  #numRequests = 0;
  #lastUsed = performance.now();
  #meanSeconds = 1;

  constructor(source: ServedSource, options: ServingOptions) {
    this.source = source;
    this.#options = options;
  }

  get state(): "unloaded" | "loading" | "ready" {
    return this.#loaded ? "ready" : this.#loading ? "loading" : "unloaded";
  }

  get loaded(): LoadedModel | undefined {
    return this.#loaded;
  }

  /** Requests that are answered or wait. */
  get numRequests(): number {
    return this.#numRequests;
  }

  get slots(): number {
    return this.#options.slots ?? DEFAULT_SLOTS;
  }

  /** Milliseconds since the last request ended; 0 while there is one, and while it is loaded. */
  get idleMs(): number {
    const isInUse = this.#numRequests > 0 || this.state === "loading";
    return isInUse ? 0 : performance.now() - this.#lastUsed;
  }

  /** A place for so many answers, until `leave` is called. Throws ApiError 429 when the queue is full. */
  enter(count: number): () => void {
    const most = this.slots + (this.#options.maxWaiting ?? DEFAULT_WAITING);
    if (this.#numRequests > 0 && this.#numRequests + count > most) {
      const seconds = Math.ceil((this.#meanSeconds * (this.#numRequests - this.slots)) / this.slots);
      const retryAfter = Math.min(60, Math.max(1, seconds));
      const message = `Cannot take the request: ${this.#numRequests} answers are under way or waiting, wanted at most ${most}`;
      throw new ApiError(429, message, { code: "queue_full", retryAfter });
    }
    this.#numRequests += count;
    const startedAt = performance.now();
    let hasLeft = false;
    return () => {
      if (hasLeft) return;
      hasLeft = true;
      this.#numRequests -= count;
      this.#lastUsed = performance.now();
      this.#meanSeconds += 0.1 * ((this.#lastUsed - startedAt) / 1000 - this.#meanSeconds);
    };
  }

  /** The model, loaded if it is not. `admit` is told what it would take and throws to refuse. */
  load(admit: (need: Need) => void, signal: AbortSignal): Promise<LoadedModel> {
    this.#loading ??= this.#load(admit, signal)
      .then((loaded) => {
        this.#loaded = loaded;
        return loaded;
      })
      .catch((error) => {
        this.#loading = undefined;
        throw error;
      });
    return this.#loading;
  }

  async #load(admit: (need: Need) => void, signal: AbortSignal): Promise<LoadedModel> {
    const reference = await modelReference(this.source.source);
    let bytes = 0;
    const model = await loadModel(reference, {
      ...this.#options.model,
      ...{ sequences: this.slots, mtp: false, sharesCores: true, signal },
      onEvent: (event) => {
        if (event.kind !== "placed") return;
        const { need, cacheBytes, context } = event;
        const weightBytes = need.weightBytes + need.expertBytes + need.bufferBytes;
        bytes = weightBytes + cacheBytes;
        admit({ weightBytes, cacheBytes, context });
      },
    });
    try {
      const text = await attachText(model);
      const advice = await samplingAdvice(model.source);
      return { text, batch: new Batch(model, { slots: this.slots }), advice, bytes };
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  /** Frees its memory. Nobody may be using it. */
  async unload(): Promise<void> {
    const loaded = this.#loaded ?? (await this.#loading?.catch(() => undefined));
    this.#loaded = undefined;
    this.#loading = undefined;
    await loaded?.text.dispose();
  }
}

/** Whether loading failed for want of memory, which others may give back. */
export function isWantOfMemory(error: unknown): boolean {
  return error instanceof CheckpointError && error.code === "not-enough-memory";
}
