/** Whether a source holds what its config promises: every missing and every misshapen tensor, all at once. */
import { architectureOf } from "../arch/architecture.ts";
import { isMoeLayer, layerNames, mtpNames } from "../arch/deepseek-modules.ts";
import type { ModelConfig } from "../arch/model-config.ts";
import { CheckpointError, type Problem } from "../base/errors.ts";
import type { WeightSource } from "../logical/weight-source.ts";
import { formatShape } from "../tensor/dtype.ts";

/** Problems that one error tells of. */
const MOST_SHOWN = 12;

export interface WeightCheck {
  problems: Problem[];
  /** Whether the MTP layers that config.json declares are there. Many checkpoints leave them out. */
  hasMtp: boolean;
}

export function checkWeights(config: ModelConfig, source: WeightSource): WeightCheck {
  const { sizes } = config;
  // Names and shapes do not depend on how weights are stored, which may be a way that builds do not know.
  const architecture = architectureOf({ ...source.config, quantization_config: undefined });
  const expectedTensors = architecture.expectedTensors?.();
  if (expectedTensors === undefined) {
    const what =
      "its config.json wraps that of the language model in another's, wanted a language model alone";
    return {
      problems: [{ code: "wrapped", message: `Cannot run "${source.label}": ${what}` }],
      hasMtp: false,
    };
  }
  const problems: Problem[] = [];
  const optional = new Set<string>();
  let hasMtp = sizes.numMtpLayers > 0;
  for (let i = 0; i < sizes.numMtpLayers; i++) {
    const { embedding, head, join } = mtpNames(sizes.numLayers + i);
    optional.add(embedding).add(head);
    if (!source.weights.has(join)) hasMtp = false;
  }
  const expected = new Set<string>();
  for (const { name, shape } of expectedTensors) {
    expected.add(name);
    const stored = source.weights.get(name);
    const isMtp = (architecture.locate(name).layer ?? -1) >= sizes.numLayers;
    if (isMtp && !hasMtp) continue;
    if (stored === undefined) {
      const isScale = name.endsWith("_scale_inv"); // belongs to its weight, whose dtype decides
      if (!isScale && !optional.has(name)) {
        problems.push({
          code: "missing-tensor",
          message: `Cannot run "${source.label}": "${name}" is missing`,
        });
      }
    } else if (formatShape(stored.shape) !== formatShape(shape)) {
      const values = `it is ${formatShape(stored.shape)}, wanted ${formatShape(shape)}`;
      problems.push({ code: "wrong-shape", message: `Cannot use "${name}" of "${source.label}": ${values}` });
    }
  }
  problems.push(...denied(source, { sizes, expected }));
  for (let layer = 0; layer < sizes.numLayers; layer++) {
    const { router } = layerNames(layer, { hasQueryRank: sizes.queryRank > 0 });
    if (isMoeLayer(sizes, layer) || !source.weights.has(router)) continue;
    const what = "config.json makes it dense, and it is there, wanted a dense layer without router";
    problems.push({ code: "contradiction", message: `Cannot use "${router}" of "${source.label}": ${what}` });
  }
  const unusable = [...source.weights.values()].find(
    ({ dtype, hasScale }) => dtype === "F8_E4M3" && hasScale && source.block.cols % 16 !== 0,
  );
  if (unusable) {
    const what = `scale blocks are ${source.block.cols} columns wide, wanted a multiple of 16`;
    problems.push({
      code: "block-size",
      message: `Cannot use "${unusable.name}" of "${source.label}": ${what}`,
    });
  }
  return { problems, hasMtp };
}

/** What a decoder layer is made of; not what some exporters add, such as frequencies and scales of a cache. */
const OF_A_LAYER =
  /^model\.layers\.(\d+)\..+(?:_proj|_proj_with_mqa|norm|\.gate)\.(?:weight|bias|e_score_correction_bias)$/;

/**
 * Weights that config.json has no place for: without them another model would run than was trained. MTP layers
 * may be left out.
 */
function denied(
  { label, weights }: WeightSource,
  { sizes, expected }: { sizes: ModelConfig["sizes"]; expected: ReadonlySet<string> },
): Problem[] {
  const problems: Problem[] = [];
  for (const name of weights.keys()) {
    const layer = Number(OF_A_LAYER.exec(name)?.[1] ?? -1);
    if (layer < 0) continue;
    const { join } = mtpNames(layer);
    const isBehind = layer >= sizes.numLayers;
    if (isBehind ? weights.has(join) : expected.has(name)) continue;
    const what = isBehind
      ? `config.json has ${sizes.numLayers} layers and there is no "${join}", wanted no layer behind them but MTP layers`
      : "config.json has no place for it, wanted a config.json that says what is there";
    problems.push({ code: "contradiction", message: `Cannot use "${name}" of "${label}": ${what}` });
  }
  return problems;
}

/** One error for all of it. */
export function throwProblems(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const lines = problems.slice(0, MOST_SHOWN).map(({ message }) => message);
  if (problems.length > lines.length) lines.push(`… and ${problems.length - lines.length} more`);
  const note = problems.find(({ note }) => note)?.note;
  throw new CheckpointError(problems[0]!.code, lines.join("\n"), note ? { note } : {});
}
