/** How a checkpoint wants to be sampled: what generation_config.json says, else what R1's authors advise. */
import type { WeightSource } from "../logical/weight-source.ts";

export interface SamplingAdvice {
  temperature: number;
  topP: number;
}

export async function samplingAdvice(source: Pick<WeightSource, "readSmall">): Promise<SamplingAdvice> {
  const { temperature = 0.6, top_p: topP = 0.95 } = await adviceOf(source);
  return { temperature, topP };
}

/** Numbers that make sense; whatever else the file holds is none of ours. */
async function adviceOf(
  source: Pick<WeightSource, "readSmall">,
): Promise<{ temperature?: number; top_p?: number }> {
  const bytes = await source.readSmall("generation_config.json", 1_000_000);
  if (!bytes) return {};
  try {
    const value = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
    const number = (key: string) => {
      const of = value[key];
      return typeof of === "number" && of > 0 && (key !== "top_p" || of <= 1) ? { [key]: of } : {};
    };
    return { ...number("temperature"), ...number("top_p") };
  } catch {
    return {};
  }
}
