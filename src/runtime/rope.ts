/**
 * Rotary position embedding with YaRN: model.md section 5. Angles, cosines and sines in float64, stored as
 * float32; at position 163,839 an all-float32 computation is off by 1e-4 in the cosine.
 */
import type { ModelConfig, RopeConfig } from "../arch/model-config.ts";

/** Angle per position of every pair, `dim / 2` of them. */
export function ropeFrequencies({ theta, yarn }: RopeConfig, dim: number): Float64Array {
  const plain = Float64Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim));
  if (!yarn) return plain;
  const turns = (n: number) =>
    (dim * Math.log(yarn.originalPositions / (2 * Math.PI * n))) / (2 * Math.log(theta));
  const low = Math.max(Math.floor(turns(yarn.betaFast)), 0);
  const high = Math.min(Math.ceil(turns(yarn.betaSlow)), dim - 1);
  const width = low === high ? 0.001 : high - low;
  return plain.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / width, 0), 1); // by the pair's index
    return frequency * (1 - ramp) + (frequency / yarn.factor) * ramp;
  });
}

/** mscale(s, m) of YaRN. */
function magnitude(factor: number, m: number): number {
  return factor <= 1 ? 1 : 0.1 * m * Math.log(factor) + 1;
}

/** What cosines and sines are multiplied by: 1 for DeepSeek's own models. */
export function ropeAmplitude({ yarn }: RopeConfig): number {
  return yarn ? magnitude(yarn.factor, yarn.mscale) / magnitude(yarn.factor, yarn.mscaleAllDim) : 1;
}

/** What scores are multiplied by: (nope + rope)^-1/2, times mscale² under YaRN. At every length of context. */
export function softmaxScale({ sizes, rope }: Pick<ModelConfig, "sizes" | "rope">): number {
  const m = rope.yarn ? magnitude(rope.yarn.factor, rope.yarn.mscaleAllDim) : 1;
  return (sizes.nopeDim + sizes.ropeDim) ** -0.5 * m * m;
}

/** Writes the cosines, then the sines of one position. */
export function writeAngles(
  into: Float32Array,
  at: number,
  { position, frequencies, amplitude }: { position: number; frequencies: Float64Array; amplitude: number },
): void {
  const pairs = frequencies.length;
  for (let i = 0; i < pairs; i++) {
    const angle = position * frequencies[i]!;
    into[at + i] = Math.cos(angle) * amplitude;
    into[at + pairs + i] = Math.sin(angle) * amplitude;
  }
}
