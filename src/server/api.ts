/**
 * What the studio and the server say to each other, below /api. Types only: the studio imports this file and nothing
 * else of the engine.
 *
 * Errors are those of the other routes: { error: { message, type, param, code, note?, problems? } }. Routes that take a
 * while answer with server-sent events, each a JSON value of the type that is named; the last one is the result, or
 * { kind: "error", error }.
 */
import type { Problem } from "../base/errors.ts";
import type { BuildEvent } from "../build/events.ts";
import type { EvalRecord } from "../eval/record.ts";
import type { RunConfig } from "../eval/run-config.ts";
import type { RunSummary } from "../eval/summary.ts";
import type { PlanSummary } from "../plan/summary.ts";
import type { RecipeForm, RecipeWords, RuleForm, SelectorForm } from "../recipe/form.ts";
import type { CompareEvent, CompareReport } from "../survey/compare.ts";
import type { InspectReport } from "../survey/inspect.ts";
import type { TensorRow } from "../survey/tensor-rows.ts";
import type { ErrorBody } from "./api-error.ts";

export type {
  BuildEvent,
  CompareEvent,
  CompareReport,
  ErrorBody,
  EvalRecord,
  InspectReport,
  PlanSummary,
  Problem,
  RecipeForm,
  RecipeWords,
  RuleForm,
  RunConfig,
  RunSummary,
  SelectorForm,
  TensorRow,
};

/** GET /api/studio */
export interface StudioInfo {
  version: string;
  /** Where children are built, as people know it; null: nowhere, and `noBuilds` says why. */
  builds: string | null;
  noBuilds?: string;
  /** Whether folders of runs were named. */
  hasRuns: boolean;
}

/** GET /api/checkpoints: what is served. */
export interface CheckpointEntry {
  /** As models are named in /v1. */
  id: string;
  kind: "checkpoint" | "child";
  /** Of what is in memory. */
  state: "unloaded" | "loading" | "ready";
  /** As people know it: the end of its path. */
  place: string;
  /** Recipe of a child; DELETE /api/recipes/ID takes away those that were made here. */
  recipe?: string;
  madeHere?: boolean;
  /** Of checkpoints. Absent where it cannot be read; GET /api/checkpoints/ID says why. */
  bytes?: number;
  tensors?: number;
  parameters?: number;
  architecture?: string;
}

/** GET /api/checkpoints/ID is an InspectReport; of a child, its plan: POST /api/plan with its recipe. */

/** GET /api/checkpoints/ID/tensors?search=&role=&dtype=&layer=&offset=0&limit=200, in the order of layers and names. */
export interface TensorPage {
  /** Tensors that match. */
  total: number;
  rows: TensorRow[];
}

/**
 * GET /api/checkpoints/ID/files is a list of names (config.json, tokenizer_config.json, chat_template.jinja,
 * generation_config.json, chimera.json, README.md: those that are there); GET …/files/NAME is its text.
 */
export type FileNames = string[];

/** POST /api/compare with CompareRequest: events of CompareStep. The same pair is answered at once the next time. */
export interface CompareRequest {
  base: string;
  other: string;
  /** Pieces of each tensor that are looked at; absent: all. */
  sample?: number;
}

export type CompareStep =
  | CompareEvent
  | { kind: "report"; report: CompareReport }
  | ({ kind: "error" } & ErrorBody);

/** GET /api/recipe/words is RecipeWords. */

/** POST /api/recipe/read with { recipe: string }. Problems have line and column. */
export type RecipeReading = { form: RecipeForm } | { problems: Problem[] };

/** POST /api/recipe/write with RecipeForm: { recipe: string } */
export interface RecipeText {
  recipe: string;
}

/** POST /api/recipe/template with { base: string; other: string; lambda?: number }: an R1T recipe of two checkpoints, as text. */
export interface TemplateRequest {
  base: string;
  other: string;
  /** Of the other's routed experts. Default 1. */
  lambda?: number;
}

/** POST /api/plan with { recipe: string }. Paths of parents are ids of checkpoints, or lie below the folders that are served. */
export type Planning = { plan: PlanSummary } | { problems: Problem[] };

/** POST /api/builds with BuildRequest: a BuildState. GET /api/builds: all of them, the latest first. */
export interface BuildRequest {
  recipe: string;
  /** Of the child: the name of its folder, and of the model. */
  name: string;
}

/** GET /api/builds/ID/events: events of BuildState, at once and whenever it changes, until the build has ended. */
export interface BuildState {
  id: string;
  name: string;
  state: "running" | "pausing" | "paused" | "done" | "failed";
  bytesDone: number;
  bytesTotal: number;
  shardsDone: number;
  shardsTotal: number;
  /** Of running; pauses not counted. */
  seconds: number;
  planDigest: string;
  error?: ErrorBody["error"];
}

/** POST /api/builds/ID/pause, …/resume; DELETE /api/builds/ID pauses it and removes what is there: a BuildState. */

/** POST /api/recipes with NewChild makes a virtual child, or makes it anew: a CheckpointEntry. DELETE /api/recipes/NAME */
export interface NewChild {
  name: string;
  recipe: string;
  /** Weights of parents instead of those in the recipe; the base gets the rest to 1. */
  lambda?: Record<string, number>;
}

/** GET /api/runs: runs and studies below the folders that were named. */
export interface RunsList {
  runs: RunEntry[];
  studies: StudyEntry[];
}

export interface RunEntry {
  /** Opaque. */
  id: string;
  name: string;
  place: string;
  complete: boolean;
  summary: RunSummary | null;
  /** ISO 8601 */
  startedAt: string;
  /** The study that it belongs to. */
  study?: string;
}

export interface StudyEntry {
  id: string;
  kind: "sweep" | "search" | "ablation";
  place: string;
  /** Names of its plots, as GET /api/studies/ID/files/NAME gives them; report.html is one of them. */
  files: string[];
}

/** GET /api/runs/ID */
export interface RunDetails {
  entry: RunEntry;
  config: RunConfig;
  topics: string[];
  tasks: string[];
}

/** GET /api/runs/ID/records?offset=0&limit=50&topic=&task=&only=right|wrong|refused|thinking */
export interface RecordPage {
  total: number;
  records: EvalRecord[];
}

/** GET /api/studies/ID */
export interface StudyDetails {
  entry: StudyEntry;
  points: StudyPoint[];
  /** By parent, of a sweep. */
  parents: StudyPoint[];
  /** What the curve runs over: λ of this parent. */
  axis?: string;
  /** Of a search: indices into points. */
  front?: number[];
}

export interface StudyPoint {
  name: string;
  curve?: string;
  x?: number;
  /** GET /api/runs/ID */
  run: string;
  summary: RunSummary;
}
