/** What `quantization_config` says about how weights are stored. */
import { type BlockSize, DEFAULT_BLOCK } from "../tensor/block.ts";
import type { Dtype } from "../tensor/dtype.ts";
import { asConfig, type Config, isCount, own } from "./config.ts";

export interface Quantization {
  /** fp8-block: F8_E4M3 with one scale per block. "other" is one that we copy but cannot compute with. */
  kind: "fp8-block" | "none" | "other";
  block: BlockSize;
  scaleFormat: "float" | "ue8m0";
  /** Whether the config exempts a module, or one that it lies in. */
  exempts(module: string): boolean;
}

/** From the config of the whole model or, for multimodal ones, of its language model. */
export function quantizationOf(config: Config, inner: Config): Quantization {
  const value = own(config, "quantization_config") ?? own(inner, "quantization_config") ?? undefined;
  const settings = asConfig(value) ?? {};
  const block = blockOf(own(settings, "weight_block_size"));
  const format = own(settings, "fmt") ?? "e4m3";
  const isBlockFp8 = own(settings, "quant_method") === "fp8" && format === "e4m3" && block !== undefined;
  const exempted = new Set([
    ...patternsOf(own(settings, "modules_to_not_convert")),
    ...patternsOf(own(settings, "ignored_layers")),
  ]);
  return {
    kind: value === undefined ? "none" : isBlockFp8 ? "fp8-block" : "other",
    block: block ?? DEFAULT_BLOCK,
    scaleFormat: own(settings, "scale_fmt") === "ue8m0" ? "ue8m0" : "float",
    exempts: (module) => exempted.size > 0 && isExempt(module, exempted),
  };
}

/** [128, 128] -> its block size; undefined for anything but two sizes. */
export function blockOf(value: unknown): BlockSize | undefined {
  if (!Array.isArray(value) || value.length !== 2) return undefined;
  const [rows, cols] = value;
  return isCount(rows, 1) && isCount(cols, 1) ? { rows, cols } : undefined;
}

/** The dtype of what is not quantised: `torch_dtype`, which newer files spell `dtype`. BF16 when unsaid. */
export function plainDtypeOf(config: Config): Dtype {
  const name = own(config, "dtype") ?? own(config, "torch_dtype");
  if (name === "float32" || name === "torch.float32") return "F32";
  if (name === "float16" || name === "torch.float16") return "F16";
  return "BF16";
}

// "model.layers.1.*" and "model.layers.1." mean the module model.layers.1 and what lies in it.
function patternsOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.filter((item) => typeof item === "string").map((item) => item.replace(/\.?\*?$/, ""));
}

// transformers takes an entry as the start or the end of a module's name. We do so at dots only, so that
// layers.1 does not exempt layers.16. Two look-ups per dot, however long the list is.
function isExempt(module: string, exempted: ReadonlySet<string>): boolean {
  if (exempted.has(module)) return true;
  for (let dot = module.indexOf("."); dot >= 0; dot = module.indexOf(".", dot + 1)) {
    if (exempted.has(module.slice(0, dot)) || exempted.has(module.slice(dot + 1))) return true;
  }
  return false;
}
