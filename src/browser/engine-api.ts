/**
 * What a page asks of the engine in its worker, and what comes back: plain data both ways.
 *
 * Every request has an id. To it come any number of events, then a result or an error, and nothing after that. An abort
 * stops the request as an AbortSignal stops the function behind it. Types only: a page imports nothing of the engine.
 */
import type { Problem } from "../base/errors.ts";
import type { BuildEvent, VerifyEvent } from "../build/events.ts";
import type { Finding } from "../build/verify.ts";
import type { BuildPlan } from "../plan/plan.ts";
import type { PlanSummary } from "../plan/summary.ts";
import type { RecipeForm, RecipeWords } from "../recipe/form.ts";
import type { GenerateStats } from "../runtime/generate.ts";
import type { LoadEvent, ModelOptions } from "../runtime/model-options.ts";
import type { AnswerOptions } from "../runtime/talk.ts";
import type { CompareEvent, CompareOptions, CompareReport } from "../survey/compare.ts";
import type { InspectReport } from "../survey/inspect.ts";
import type { TensorQuery, TensorRow } from "../survey/tensor-rows.ts";
import type { ChatMessage } from "../text/chat-template.ts";
import type { Output, OutputEvent } from "../text/output-events.ts";

/** A recipe by its text. */
export interface RecipeText {
  recipe: string;
  /** What it is called; paths of parents start from its folder. Default: "/recipe.yaml". */
  file?: string;
  /** Weights of parents instead of those in the recipe; the base gets the rest to 1. As a sweep's points have them. */
  lambda?: Readonly<Record<string, number>>;
  /** Where parents lie, by name, instead of where the recipe says. */
  locations?: Readonly<Record<string, string>>;
}

export interface EngineInfo {
  /** Whether ranks are threads; else everything runs in the engine's worker, to the same bits. */
  threads: boolean;
  /** Cores, as far as the browser tells. */
  cores: number;
  version: string;
}

export interface Place {
  /** What the other requests take. */
  location: string;
  label: string;
  /** "models": listed in models.json; "memory": built, and gone with the page; "kept": in the browser's storage. */
  kind: "models" | "memory" | "kept";
  byteLength: number;
  files: { name: string; byteLength: number }[];
}

export interface BuiltChild {
  location: string;
  planDigest: string;
  /** Of the build, the verification not counted. */
  seconds: number;
  shards: { name: string; byteLength: number; sha256: string }[];
  /** Every file of the child. */
  files: { name: string; byteLength: number }[];
  /** Of the verification: none where all is well. Undefined where it was not wanted. */
  findings: Finding[] | undefined;
}

export type BuildStep =
  | { kind: "build"; event: BuildEvent }
  /** The child is held against its parents, byte for byte. */
  | { kind: "verify"; event: VerifyEvent };

export type LoadOptions = Pick<
  ModelOptions,
  "threads" | "context" | "cache" | "mtp" | "weights" | "sequences"
>;

export interface LoadedModel {
  /** Names it in other requests. */
  model: number;
  label: string;
  /** Longest conversation, in tokens. */
  context: number;
  threads: number;
  weightBytes: number;
  /** Where it can propose tokens ahead. */
  hasMtp: boolean;
}

export type SamplingOptions = Pick<
  AnswerOptions,
  | "maxTokens"
  | "stop"
  | "speculate"
  | "reasoningFormat"
  | "tools"
  | "variables"
  | "temperature"
  | "topK"
  | "topP"
  | "minP"
  | "seed"
>;

export type GenerateEvent =
  | OutputEvent
  /** Tokens of the prompt that are computed. */
  | { kind: "prompt"; done: number; total: number }
  /** At most ten times a second. */
  | { kind: "stats"; stats: GenerateStats };

/** By the name of the request. */
export interface EngineRequests {
  /** First of all: which models there are. `models`: URL of models.json. */
  start: { params: { models: string }; event: never; value: EngineInfo };
  list: { params: Record<string, never>; event: never; value: Place[] };
  inspect: { params: { location: string }; event: never; value: InspectReport };
  compare: {
    params: { base: string; other: string } & Pick<CompareOptions, "measure" | "sample">;
    event: CompareEvent;
    value: CompareReport;
  };
  /** A page of the table of tensors, and how many match. */
  tensors: {
    params: { location: string; offset: number; limit: number } & TensorQuery;
    event: never;
    value: { total: number; rows: TensorRow[] };
  };
  plan: { params: RecipeText; event: never; value: BuildPlan };
  planSummary: { params: RecipeText; event: never; value: PlanSummary };
  /** Rejects with a RecipeError that has all faults with their places. */
  readRecipe: { params: { recipe: string }; event: never; value: RecipeForm };
  writeRecipe: { params: { form: RecipeForm }; event: never; value: string };
  /** A recipe with the other's routed experts in the base. */
  recipeTemplate: {
    params: { base: { name: string; path: string }; other: { name: string; path: string }; lambda: number };
    event: never;
    value: string;
  };
  recipeWords: { params: Record<string, never>; event: never; value: RecipeWords };
  /**
   * Builds in memory. `location`: where the child is to be found then; default "/children/" and its plan's digest. A
   * child of the same plan that is there already is verified again, and stays.
   */
  build: {
    params: RecipeText & { location?: string; verify?: boolean };
    event: BuildStep;
    value: BuiltChild;
  };
  /** A whole file, to be offered for download. */
  read: { params: { location: string; name: string }; event: never; value: Uint8Array<ArrayBuffer> };
  /** All files of a place as one tar, to be offered for download. */
  archive: { params: { location: string }; event: never; value: Uint8Array<ArrayBuffer> };
  /** Copies a child into the browser's storage, where later visits find it. */
  keep: { params: { location: string }; event: never; value: Place };
  /** Removes a child, from memory or from the browser's storage. */
  remove: { params: { location: string }; event: never; value: undefined };
  /**
   * A checkpoint, or the child of a recipe, which is assembled as it is loaded. Default: room for four conversations;
   * one thread where there are none, or where the model is tiny.
   */
  load: {
    params: ({ location: string } | RecipeText) & LoadOptions;
    event: LoadEvent;
    value: LoadedModel;
  };
  /**
   * Answers messages. `conversation`: what earlier answers of this name have computed is not computed again. Default
   * sampling: what the model advises; temperature 0 takes the likeliest token.
   */
  generate: {
    params: { model: number; messages: ChatMessage[]; conversation?: string } & SamplingOptions;
    event: GenerateEvent;
    value: { output: Output; stats: GenerateStats };
  };
  /** Gives back what a conversation holds of the cache. */
  forget: { params: { model: number; conversation: string }; event: never; value: undefined };
  /** Goes on behind ids, with the likeliest token. An event for each. */
  generateIds: {
    params: { model: number; ids: number[]; maxTokens?: number };
    event: { kind: "id"; id: number };
    value: number[];
  };
  /** What messages become before they are answered. */
  prompt: {
    params: { model: number; messages: ChatMessage[] };
    event: never;
    value: { text: string; ids: number[] };
  };
  /** Ends a model, or all of them, and frees their memory. */
  dispose: { params: { model?: number }; event: never; value: undefined };
}

export type RequestName = keyof EngineRequests;

export interface RequestOptions<Name extends RequestName> {
  onEvent?: (event: EngineRequests[Name]["event"]) => void;
  signal?: AbortSignal | undefined;
}

/** A page's end of the engine. */
export interface EngineRequester {
  /** Rejects with what the engine throws: an EngineFault that is an Error. */
  request<Name extends RequestName>(
    name: Name,
    params: EngineRequests[Name]["params"],
    options?: RequestOptions<Name>,
  ): Promise<EngineRequests[Name]["value"]>;
}

export type ToEngine =
  | { kind: "request"; id: number; name: RequestName; params: unknown }
  | { kind: "abort"; id: number };

export type FromEngine =
  | { kind: "event"; id: number; event: unknown }
  | { kind: "result"; id: number; value: unknown }
  | { kind: "error"; id: number; error: EngineFault };

/** An error on its way to the page. */
export interface EngineFault {
  /** The class: "CheckpointError", "RecipeError", "PlanError", "BuildError", "Interrupted", "RangeError" … */
  name: string;
  message: string;
  code?: string;
  note?: string;
  /** All of them, with their places, where a recipe or a plan has several. */
  problems?: Problem[];
}
