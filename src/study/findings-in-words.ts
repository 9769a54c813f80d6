/** The findings of a curve as sentences, for terminal and report alike. */
import type { CurveFindings } from "./findings.ts";

export function accuracyInWords(accuracy: CurveFindings["accuracy"]): string {
  if (!accuracy) return "not scored, or one point only";
  const { first, last, largestStep, from, to, share, isGradual } = accuracy;
  const ends = `${first.toFixed(3)} → ${last.toFixed(3)}`;
  if (isGradual === null) return `${ends}: no change to speak of`;
  const step = `the largest step is ${largestStep.toFixed(3)} between λ ${from} and ${to}, ${Math.round(100 * share)} % of the change`;
  return `${ends}, ${isGradual ? "gradual" : "not gradual"}: ${step}`;
}

export function thinkingInWords({ first, last, onset, isSharp }: CurveFindings["thinking"]): string {
  const ends = `${Math.round(100 * first)} % → ${Math.round(100 * last)} % open a trace`;
  if (!onset) return `${ends}: no onset from below 10 % to above 90 %`;
  return `${ends}; ${isSharp ? "sharp" : "not sharp"} onset between λ ${onset.from} and ${onset.to}`;
}

export function functionalInWords({ count, of, least }: CurveFindings["functional"]): string {
  return `${count} of ${of} children; the least share of answers that end and say something is ${Math.round(100 * least)} %`;
}
