/**
 * What the forward pass needs to know of a DeepSeek-V2 or -V3 model: sizes and numerics, from config.json by
 * the rules of model.md sections 1, 5 and 8. A choice that we do not know is a problem, never a default.
 */
import type { Problem } from "../base/errors.ts";
import { asConfig, type Config, ConfigReader, own, show } from "./config.ts";
import { configProblems } from "./config-problems.ts";
import { type DeepseekSizes, readSizes } from "./deepseek-sizes.ts";
import { isDeepseek, languageModelOf } from "./families.ts";

/** Rotary position embedding: plain, or YaRN's (model.md section 5). */
export interface RopeConfig {
  theta: number;
  /** Checkpoints pair (2i, 2i+1); a config may say that theirs pair (i, i + dim/2). */
  interleaved: boolean;
  yarn?: {
    factor: number;
    betaFast: number;
    betaSlow: number;
    mscale: number;
    mscaleAllDim: number;
    originalPositions: number;
  };
}

/** How a layer chooses its experts (model.md section 8). */
export interface RouterConfig {
  method: "noaux_tc" | "greedy" | "group_limited_greedy";
  scoring: "sigmoid" | "softmax";
  numGroups: number;
  numGroupsKept: number;
  numChosen: number;
  /** Divide the chosen weights by their sum. */
  normalise: boolean;
  /** Factor of the routed part. */
  scale: number;
}

export interface ModelConfig {
  sizes: DeepseekSizes;
  epsilon: number;
  rope: RopeConfig;
  /** Undefined when no layer has routed experts. */
  router: RouterConfig | undefined;
  /** Longest context. */
  maxPositions: number;
  /** Worth telling; none of them stops anything. */
  warnings: string[];
}

/** ε of the norms within attention, whatever the config says (model.md section 4). */
export const INNER_EPSILON = 1e-6;

/** From the parsed config.json: the model, or everything that is wrong with it. */
export function modelConfigOf(value: unknown): ModelConfig | { problems: Problem[] } {
  const problems = configProblems(value);
  const config = asConfig(value) ?? {};
  const { family, config: inner } = languageModelOf(config);
  if (family === undefined || !isDeepseek(family)) {
    if (problems.length > 0) return { problems };
    const type = show(own(inner, "model_type"));
    const message = `Cannot run this model: model_type of config.json is ${type}, wanted "deepseek_v3" or "deepseek_v2"`;
    return { problems: [{ code: "unknown-model", message }] };
  }
  const reader = new ConfigReader(inner);
  const sizes = readSizes(reader, family.id);
  const warnings: string[] = [];
  reader.word("hidden_act", ["silu"]);
  const model: ModelConfig = {
    sizes,
    epsilon: positive(reader, "rms_norm_eps"),
    rope: readRope(reader),
    router: sizes.numExperts > 0 ? readRouter(reader, { familyId: family.id, warnings }) : undefined,
    maxPositions: reader.count("max_position_embeddings", 1),
    warnings,
  };
  // What only running asks for is told with the rest, and nothing twice.
  const told = new Set(problems.map(({ message }) => message));
  const all = [...problems, ...reader.problems.filter(({ message }) => !told.has(message))];
  return all.length > 0 ? { problems: all } : model;
}

function positive(reader: ConfigReader, key: string, absent?: number): number {
  return positiveIn(reader, { config: reader.config, key, shown: key, ...(absent ? { absent } : {}) });
}

/** A finite number above 0 from an object within the config. */
function positiveIn(
  reader: ConfigReader,
  at: { config: Config; key: string; shown: string; absent?: number },
): number {
  const value = own(at.config, at.key);
  if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
  if (value == null && at.absent !== undefined) return at.absent;
  reader.refuse(at.shown, "a number above 0", value);
  return 1;
}

function readRope(reader: ConfigReader): RopeConfig {
  // Newer files nest everything under rope_parameters, theta included.
  const given = own(reader.config, "rope_parameters");
  const parameters = asConfig(given);
  if (given != null && parameters === undefined) reader.refuse("rope_parameters", "an object");
  const key = parameters ? "rope_parameters" : "rope_scaling";
  const value = parameters ?? own(reader.config, key);
  const interleaved = own(reader.config, "rope_interleave") !== false;
  const thetaAt = parameters && own(parameters, "rope_theta") != null ? parameters : reader.config;
  const theta = positiveIn(reader, { config: thetaAt, key: "rope_theta", shown: "rope_theta" });
  // Frequencies fall with their index, and YaRN divides by its logarithm.
  if (theta < 1 || own(thetaAt, "rope_theta") === 1) reader.refuse("rope_theta", "a number above 1", theta);
  const rope: RopeConfig = { theta, interleaved };
  if (value == null) return rope;
  const scaling = asConfig(value);
  if (scaling === undefined) {
    reader.refuse(key, "an object");
    return rope;
  }
  const type = own(scaling, "rope_type") ?? own(scaling, "type");
  if (type === "default") return rope;
  if (type !== "yarn") {
    reader.refuse(`${key}.type`, '"yarn" or "default"', type);
    return rope;
  }
  const number = (name: string, absent?: number) =>
    positiveIn(reader, {
      config: scaling,
      key: name,
      shown: `${key}.${name}`,
      ...(absent === undefined ? {} : { absent }),
    });
  const amount = (name: string, absent: number) => (own(scaling, name) === 0 ? 0 : number(name, absent));
  rope.yarn = {
    factor: number("factor"),
    betaFast: number("beta_fast", 32),
    betaSlow: number("beta_slow", 1),
    mscale: amount("mscale", 1),
    mscaleAllDim: amount("mscale_all_dim", 0),
    originalPositions: number("original_max_position_embeddings"),
  };
  const { factor, betaFast, betaSlow } = rope.yarn;
  if (factor < 1) reader.refuse(`${key}.factor`, "a number of 1 or more", factor);
  if (betaFast < betaSlow)
    reader.contradiction(`${key}.beta_fast`, `${betaFast}`, `at least beta_slow ${betaSlow}`);
  return rope;
}

function readRouter(
  reader: ConfigReader,
  { familyId, warnings }: { familyId: string; warnings: string[] },
): RouterConfig {
  const isV3 = familyId === "deepseek_v3";
  const scoring = reader.word("scoring_func", ["sigmoid", "softmax"]) ?? (isV3 ? "sigmoid" : "softmax");
  const method =
    reader.word("topk_method", ["noaux_tc", "greedy", "group_limited_greedy"]) ??
    (isV3 ? "noaux_tc" : "greedy");
  if ((method === "noaux_tc") !== (scoring === "sigmoid")) {
    reader.contradiction(
      "scoring_func",
      show(scoring),
      `the one that goes with topk_method ${show(method)}: ${method === "noaux_tc" ? "sigmoid" : "softmax"}`,
    );
  }
  const normalise = reader.flag("norm_topk_prob");
  // A wrong guess would run, and answer nonsense. V2 configs may leave out what their gates do not use.
  if (isV3 && own(reader.config, "norm_topk_prob") == null) reader.refuse("norm_topk_prob", "true or false");
  if (scoring === "softmax" && normalise) {
    warnings.push("norm_topk_prob is true, which softmax gates ignore: weights are scaled, not normalised");
  }
  const optional = { absent: 1, none: 1 };
  const numGroups = reader.count("n_group", 1, method === "greedy" ? optional : { none: 1 });
  return {
    method: method as RouterConfig["method"],
    scoring: scoring as RouterConfig["scoring"],
    numGroups,
    numGroupsKept: reader.count("topk_group", 1, method !== "greedy" && numGroups > 1 ? {} : optional),
    numChosen: reader.count("num_experts_per_tok", 1),
    normalise: normalise && scoring === "sigmoid",
    scale: positive(reader, "routed_scaling_factor", isV3 ? undefined : 1),
  };
}
