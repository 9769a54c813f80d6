/**
 * The library: `import { planRecipe, build, verify, inspect, compare } from "chimera"`.
 *
 * The same functions that the command line calls. They print nothing: progress comes as events (plain data
 * with a `kind`), an AbortSignal stops them with `Interrupted`, failures are the error classes below.
 *
 * Units throughout: sizes, offsets and `bytes` are bytes, `seconds` are seconds, shapes are rows before
 * columns as in the file, indices count from 0, lines and columns from 1. λ, δ and the measures are those of
 * "Assembly of Experts" (Klagges et al., arXiv 2506.14794).
 */
export {
  BuildError,
  CheckpointError,
  EvaluationError,
  GrammarError,
  Interrupted,
  PlanError,
  type Problem,
  RecipeError,
  StudyError,
  TaskError,
} from "./base/errors.ts";
export { VERSION } from "./base/version.ts";
export { type BuildOptions, type BuildReport, build } from "./build/build.ts";
export type { BuildEvent, VerifyEvent } from "./build/events.ts";
export { type Finding, type VerifyOptions, type VerifyReport, verify } from "./build/verify.ts";
export { virtualChild } from "./build/virtual-child.ts";
export { type ConvertOptions, type ConvertReport, convertToGguf } from "./convert/convert.ts";
export { type StitchOptions, type StitchReport, stitchGguf } from "./convert/stitch.ts";
export { compareRuns, type MetricComparison, type RunComparison } from "./eval/compare-runs.ts";
export { type EndpointOptions, openEndpoint } from "./eval/endpoint.ts";
export { type EvaluateEvent, type EvaluateOptions, evaluate } from "./eval/evaluate.ts";
export { openJudge, type RefusalJudge } from "./eval/judge.ts";
export type { EvalRecord, EvalTiming } from "./eval/record.ts";
export type { RunConfig, RunSettings } from "./eval/run-config.ts";
export { type FinishedRun, readRun } from "./eval/run-folder.ts";
export type { GroupSummary, RunSummary } from "./eval/summary.ts";
export type { Answer, AnswerRequest, Target } from "./eval/target.ts";
export { type EvalTargetOptions, openEvalTarget } from "./library/eval-target.ts";
export {
  type Forward,
  type GenerateIdsOptions,
  type GenerateTextOptions,
  type LanguageModel,
  loadModel,
} from "./library/language-model.ts";
export type { ModelSource } from "./library/model-source.ts";
export { checkpointReference } from "./logical/checkpoint-weights.ts";
export type { StoredWeight, WeightReference, WeightSource } from "./logical/weight-source.ts";
export { type ExplainedTensor, explainInBase } from "./plan/explain.ts";
export { loadPlan, loadRecipe } from "./plan/load-recipe.ts";
export type { Whereabouts } from "./plan/parents.ts";
export type {
  BuildPlan,
  PlanAccount,
  PlanMerge,
  PlanParent,
  PlanShard,
  PlanTensor,
  PlanTotals,
} from "./plan/plan.ts";
export { type PlanOptions, planRecipe } from "./plan/plan-recipe.ts";
export { parseRecipe } from "./recipe/parse.ts";
export type { Recipe, Rule, Selector } from "./recipe/recipe.ts";
export { recipeSchema } from "./recipe/schema.ts";
export type { ExpertUse } from "./runtime/expert-use.ts";
export { type GenerateStats, newStats } from "./runtime/generate.ts";
export type {
  Model,
  PassResult,
  Sequence,
} from "./runtime/model.ts";
export type { LoadEvent, ModelOptions } from "./runtime/model-options.ts";
export { perplexity, windowsOf } from "./runtime/score.ts";
export type { AnswerOptions, TextModel } from "./runtime/talk.ts";
export type { WeightForm } from "./runtime/weights.ts";
export { type CompareEvent, type CompareOptions, type CompareReport, compare } from "./survey/compare.ts";
export type { CompareRow } from "./survey/distance.ts";
export { distanceMap } from "./survey/distance-map.ts";
export { type InspectReport, inspect } from "./survey/inspect.ts";
export { judgeRefusal, REFUSAL_RULES } from "./tasks/refusal-rules.ts";
export { scoreAnswer } from "./tasks/scoring.ts";
export type { Question, Scoring, Task } from "./tasks/task.ts";
export { loadTasks } from "./tasks/task-file.ts";
export type { OutputEvent } from "./text/output-events.ts";
export { type PushEvent, type PushFolderOptions, type PushReport, push } from "./transfer/push.ts";
export { openShardPush, type ShardPushEvent, type ShardPushOptions } from "./transfer/push-shards.ts";
