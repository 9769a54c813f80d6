/**
 * The few sizes of config.json that people ask for first. Only for showing: whatever decides something asks
 * arch/ instead, which also says what is wrong with a value. Here a value that is no count is left out.
 */
import type { Architecture } from "../arch/architecture.ts";
import { asConfig, countAt } from "../arch/config.ts";
import { languageModelOf } from "../arch/families.ts";

export interface ConfigFacts {
  layers?: number;
  mtpLayers: number;
  hiddenSize?: number;
  routedExperts?: number;
  sharedExperts?: number;
  expertsPerToken?: number;
  heads?: number;
  keyValueHeads?: number;
  vocabulary?: number;
  /** Positions. */
  context?: number;
}

const KEYS = {
  hiddenSize: "hidden_size",
  sharedExperts: "n_shared_experts",
  expertsPerToken: "num_experts_per_tok",
  heads: "num_attention_heads",
  keyValueHeads: "num_key_value_heads",
  vocabulary: "vocab_size",
  context: "max_position_embeddings",
} as const;

/** From the parsed config.json; undefined when there is none. */
export function configFacts(value: unknown, arch: Architecture): ConfigFacts | undefined {
  const whole = asConfig(value);
  if (!whole) return undefined;
  const { config } = languageModelOf(whole);
  const facts: ConfigFacts = { mtpLayers: arch.numMtpLayers };
  if (arch.numLayers !== undefined) facts.layers = arch.numLayers;
  if (arch.numExperts !== undefined) facts.routedExperts = arch.numExperts;
  for (const [fact, key] of Object.entries(KEYS) as [keyof typeof KEYS, string][]) {
    const count = countAt(config, key, 1);
    if (count !== undefined) facts[fact] = count;
  }
  return facts;
}
