/**
 * What is wrong with a config for its family: missing keys, values of the wrong kind, values that contradict
 * each other. All of it at once. Of a family that we do not know, nothing can be said.
 */
import type { Problem } from "../base/errors.ts";
import { asConfig, ConfigReader, countAt, own, show } from "./config.ts";
import { absurdity } from "./deepseek.ts";
import { readSizes } from "./deepseek-sizes.ts";
import { type Family, isDeepseek, languageModelOf } from "./families.ts";
import { Naming } from "./naming.ts";
import { blockOf, plainDtypeOf, quantizationOf } from "./quantization.ts";

/** Sizes that the other families may leave to the defaults of transformers, but may not misstate. */
const OPTIONAL_COUNTS = [
  "vocab_size",
  "hidden_size",
  "intermediate_size",
  "moe_intermediate_size",
  "num_attention_heads",
  "num_key_value_heads",
  "head_dim",
];

/** From the parsed config.json; undefined, when there is none, has no problems. Never throws. */
export function configProblems(value: unknown): Problem[] {
  if (value === undefined) return [];
  const config = asConfig(value);
  if (config === undefined) {
    return [
      {
        code: "config-bad-value",
        message: `Cannot read config.json: it is ${show(value)}, wanted an object`,
      },
    ];
  }
  const { family, config: inner, wrapped } = languageModelOf(config);
  if (family === undefined) return [];

  const outer = new ConfigReader(config);
  checkQuantization(outer);
  const reader = new ConfigReader(inner);
  // What a multimodal config leaves out is up to the code that comes with it.
  if (isDeepseek(family) && !wrapped) {
    checkDeepseek(reader, family, [...outer.problems]);
  } else {
    checkCommon(reader, family);
  }
  return [...outer.problems, ...reader.problems];
}

function checkDeepseek(reader: ConfigReader, family: Family, earlier: readonly Problem[]): void {
  const sizes = readSizes(reader, family.id);
  if (sizes.ropeDim % 2 !== 0) reader.contradiction("qk_rope_head_dim", `${sizes.ropeDim}`, "an even number");
  if (sizes.numExperts > 0) {
    reader.count("num_experts_per_tok", 1);
    checkRouting(reader, sizes.numExperts);
  }
  if (reader.problems.length + earlier.length > 0) return;

  const storage = {
    quantization: quantizationOf(reader.config, reader.config),
    plain: plainDtypeOf(reader.config),
  };
  const absurd = absurdity(sizes, storage, new Naming(family, sizes));
  if (absurd !== undefined) {
    reader.problems.push({ code: "config-too-large", message: `Cannot use config.json: ${absurd}` });
  }
}

function checkCommon(reader: ConfigReader, family: Family): void {
  reader.count("num_hidden_layers", 1);
  for (const key of OPTIONAL_COUNTS) {
    if (own(reader.config, key) != null) reader.count(key, 1);
  }
  if (own(reader.config, "num_nextn_predict_layers") != null) reader.count("num_nextn_predict_layers", 0);
  const heads = countAt(reader.config, "num_attention_heads", 1);
  const keyHeads = countAt(reader.config, "num_key_value_heads", 1);
  if (heads !== undefined && keyHeads !== undefined && heads % keyHeads !== 0) {
    reader.contradiction("num_attention_heads", `${heads}`, `a multiple of num_key_value_heads ${keyHeads}`);
  }
  if (family.numExpertsKey !== undefined) {
    const numExperts = reader.count(family.numExpertsKey, 1);
    if (numExperts > 0) checkRouting(reader, numExperts);
  }
}

/** Experts fall into groups of equal size, of which some are kept, and as many experts as are asked for remain. */
function checkRouting(reader: ConfigReader, numExperts: number): void {
  const optional = { absent: 1, none: 1 };
  const groups = reader.count("n_group", 1, optional);
  const kept = reader.count("topk_group", 1, optional);
  const chosen = countAt(reader.config, "num_experts_per_tok", 1) ?? 1;
  if (groups === 0 || kept === 0) return;
  if (numExperts % groups !== 0) {
    reader.contradiction("n_group", `${groups}`, `a divisor of the ${numExperts} routed experts`);
  } else if (kept > groups) {
    reader.contradiction("topk_group", `${kept}`, `at most n_group ${groups}`);
  } else if (chosen > (numExperts / groups) * kept) {
    const eligible = `the ${(numExperts / groups) * kept} routed experts of ${kept} of ${groups} groups`;
    reader.contradiction("num_experts_per_tok", `${chosen}`, `at most ${eligible}`);
  }
}

function checkQuantization(reader: ConfigReader): void {
  const value = own(reader.config, "quantization_config");
  if (value == null) return;
  const settings = asConfig(value);
  if (settings === undefined) {
    reader.refuse("quantization_config", "an object");
    return;
  }
  const size = own(settings, "weight_block_size");
  if (own(settings, "quant_method") === "fp8" && size != null && blockOf(size) === undefined) {
    reader.refuse("quantization_config.weight_block_size", "two sizes, as [128, 128]", size);
  }
}
