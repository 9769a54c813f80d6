/**
 * An architecture as data: what config.json and the names of tensors say about a checkpoint.
 *
 * Everything else in the project asks here what a tensor is; nothing else reads tensor names or the keys of
 * config.json. A config of a family we do not know still gives an architecture, whose tensors are all "other".
 */
import type { BlockSize } from "../tensor/block.ts";
import { asConfig, type Config, ConfigReader, countAt, own } from "./config.ts";
import { configProblems } from "./config-problems.ts";
import { type ExpectedTensor, expectedTensors } from "./deepseek.ts";
import { readSizes } from "./deepseek-sizes.ts";
import { isDeepseek, languageModelOf } from "./families.ts";
import { matrixOf, Naming } from "./naming.ts";
import type { Place } from "./place.ts";
import { plainDtypeOf, quantizationOf } from "./quantization.ts";

export type { ExpectedTensor } from "./deepseek.ts";

export interface Architecture {
  /** "deepseek_v3" …, or "unknown". */
  id: string;
  /** False: the only roles are `all` and globs on names. */
  known: boolean;
  /** For people: "DeepSeek-V3". */
  label: string;
  /** Main layers. */
  numLayers: number | undefined;
  /** MTP layers behind them that config.json declares. */
  numMtpLayers: number;
  /** Routed experts of an MoE layer. */
  numExperts: number | undefined;
  block: BlockSize;
  scaleFormat: "float" | "ue8m0";
  quantization: "fp8-block" | "none" | "other";
  /** Where a tensor stands, from its name. A scale stands where its weight does. */
  locate(name: string): Place;
  /** Whether this family's FP8 releases store the tensor as FP8 with block scales. */
  quantizable(name: string): boolean;
  /** Whether the tensor stays F32 whatever the dtype of the rest. */
  keepsF32(name: string): boolean;
  /**
   * Every tensor that config.json implies, scales included. Only for DeepSeek's families, and only when
   * configProblems() finds nothing, the quantisation is one we know and no multimodal part stands beside.
   */
  expectedTensors?(): ExpectedTensor[];
}

/** From the parsed config.json, whatever it holds; undefined when there is none. Never throws. */
export function architectureOf(value: unknown): Architecture {
  const config = asConfig(value) ?? {};
  const { family, config: inner, wrapped } = languageModelOf(config);
  const quantization = quantizationOf(config, inner);
  const numLayers = countAt(inner, "num_hidden_layers", 1);
  const numMtpLayers = countAt(inner, "num_nextn_predict_layers");
  const architecture: Architecture = {
    id: family?.id ?? "unknown",
    known: family !== undefined,
    label: family?.label ?? unknownLabel(config),
    numLayers,
    numMtpLayers: numMtpLayers ?? 0,
    numExperts: family?.numExpertsKey === undefined ? undefined : countAt(inner, family.numExpertsKey, 1),
    block: quantization.block,
    scaleFormat: quantization.scaleFormat,
    quantization: quantization.kind,
    locate: locateUnknown,
    quantizable: () => false,
    keepsF32: () => false,
  };
  if (family === undefined) return architecture;

  const naming = new Naming(family, { numLayers, numMtpLayers });
  architecture.locate = (name) => naming.locate(name);
  architecture.quantizable = (name) => naming.quantizable(name);
  architecture.keepsF32 = (name) => naming.keepsF32(name);
  if (!isDeepseek(family) || wrapped || quantization.kind === "other") return architecture;

  if (configProblems(value).length > 0) return architecture;
  const sizes = readSizes(new ConfigReader(inner), family.id);
  const storage = { quantization, plain: plainDtypeOf(inner) };
  architecture.expectedTensors = () => expectedTensors(sizes, storage, naming);
  return architecture;
}

function locateUnknown(name: string): Place {
  return { role: "other", matrix: matrixOf(name), mtp: false };
}

// The name goes into reports as it stands, so only a plain word is shown.
function unknownLabel(config: Config): string {
  const type = own(config, "model_type");
  return typeof type === "string" && /^[\w.-]{1,64}$/.test(type) ? `unknown (${type})` : "unknown";
}
