/**
 * How the configs of two parents differ in what matters for combining their weights.
 *
 * Left out are keys that touch neither shapes nor numerics (checkpoint-format.md section 2). Spellings of the
 * same thing are equal: a missing key and its default, null and a missing key, `type` and `rope_type`,
 * rope_scaling beside rope_theta and both inside rope_parameters. A key we have never seen counts as numerics.
 */
import { asConfig, type Config, own } from "./config.ts";
import { type Family, languageModelOf } from "./families.ts";

export interface ConfigDifference {
  /** With dots for what stands inside an object: "rope_scaling.factor". */
  key: string;
  /** The two values; undefined where the key is missing. */
  base: unknown;
  other: unknown;
  /**
   * "shape": tensors of one name have different shapes, or the models are of different kinds. "numerics":
   * anything else, also a key that only decides which tensors exist, or that one side leaves to its default.
   */
  affects: "shape" | "numerics";
}

const IGNORED = new Set([
  ...["transformers_version", "_name_or_path", "auto_map", "use_cache", "torch_dtype", "dtype"],
  ...["aux_loss_alpha", "seq_aux", "pretraining_tp"],
  // Of training and generation only.
  ...["initializer_range", "attention_dropout", "ep_size", "router_aux_loss_coef", "output_router_logits"],
  ...["bos_token_id", "eos_token_id", "pad_token_id"],
  // Added by transformers from other keys.
  "qk_head_dim",
]);

const SHAPE_KEYS = new Set([
  ...["model_type", "vocab_size", "hidden_size"],
  ...["num_hidden_layers", "first_k_dense_replace", "moe_layer_freq"],
  ...["decoder_sparse_step", "mlp_only_layers"],
  ...["intermediate_size", "moe_intermediate_size", "shared_expert_intermediate_size"],
  ...["n_routed_experts", "num_experts", "num_local_experts", "n_shared_experts"],
  ...["num_attention_heads", "num_key_value_heads", "head_dim", "q_lora_rank", "kv_lora_rank"],
  ...["qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"],
  ...["attention_bias", "mlp_bias", "use_qk_norm"],
]);

/** What a missing key means. */
const DEFAULTS = new Map<string, unknown>([
  ["attention_bias", false],
  ["mlp_bias", false],
  ["moe_layer_freq", 1],
  ["num_nextn_predict_layers", 0],
  ["rope_interleave", true],
]);

/** Objects in configs are one or two deep; deeper than this, two values count as different. */
const MAX_DEPTH = 16;

/** Differences of two parsed configs, in the order of the base's keys; none when one is missing. Never throws. */
export function compareConfigs(base: unknown, other: unknown): ConfigDifference[] {
  const [a, b] = [asConfig(base), asConfig(other)];
  if (a === undefined || b === undefined) return [];
  const [family, otherFamily] = [languageModelOf(a).family, languageModelOf(b).family];
  const skipped = new Set(IGNORED);
  if (family !== undefined && family === otherFamily) {
    // kimi_k2 is another name for deepseek_v3's architecture.
    for (const key of ["model_type", "architectures"]) skipped.add(key);
  }
  const isLatent = family?.id.startsWith("deepseek") && otherFamily?.id.startsWith("deepseek");
  if (isLatent) skipped.add("head_dim"); // derived there, too
  const defaults = new Map(DEFAULTS).set("tie_word_embeddings", isTiedByDefault(family));
  const differences: ConfigDifference[] = [];

  const compare = (baseEntries: Entries, otherEntries: Entries, prefix: string, depth: number): void => {
    for (const key of new Set([...baseEntries.keys(), ...otherEntries.keys()])) {
      if (skipped.has(key)) continue;
      const [x, y] = [baseEntries.get(key), otherEntries.get(key)];
      const [xs, ys] = [asConfig(x), asConfig(y)];
      if (xs && ys && depth < MAX_DEPTH) {
        compare(entriesOf(xs), entriesOf(ys), `${prefix}${key}.`, depth + 1);
      } else if (!isSame(x ?? defaults.get(key), y ?? defaults.get(key), depth)) {
        const isKnown = x !== undefined && y !== undefined;
        const affects = isKnown && SHAPE_KEYS.has(key) ? "shape" : "numerics";
        differences.push({ key: prefix + key, base: x, other: y, affects });
      }
    }
  };
  compare(entriesOf(a), entriesOf(b), "", 0);
  return differences;
}

type Entries = Map<string, unknown>;

/** The keys of an object, its rope settings brought to one spelling. */
function entriesOf(config: Config): Entries {
  const entries: Entries = new Map(Object.entries(config));
  const rope = asConfig(own(config, "rope_parameters")) ?? asConfig(own(config, "rope_scaling"));
  if (rope === undefined) return entries;
  const { type, rope_type = type, rope_theta, ...scaling } = rope;
  if (rope_theta !== undefined) entries.set("rope_theta", rope_theta);
  entries.delete("rope_parameters");
  entries.delete("rope_scaling");
  const isPlain = rope_type === "default" || (rope_type === undefined && Object.keys(scaling).length === 0);
  if (!isPlain) entries.set("rope_scaling", { rope_type, ...scaling });
  return entries;
}

function isTiedByDefault(family: Family | undefined): boolean {
  return family?.tiedByDefault === true;
}

function isSame(a: unknown, b: unknown, depth: number): boolean {
  if (Object.is(a, b) || (a ?? undefined) === (b ?? undefined)) return true;
  if (depth >= MAX_DEPTH) return false;
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => isSame(item, b[index], depth + 1));
  }
  const [x, y] = [asConfig(a), asConfig(b)];
  if (x === undefined || y === undefined) return false;
  const keys = new Set([...Object.keys(x), ...Object.keys(y)]);
  return [...keys].every((key) => isSame(own(x, key), own(y, key), depth + 1));
}
