/** The findings of a curve as sentences, for terminal and report alike. */
import type { CurveFindings, Transition } from "./findings.ts";

export function accuracyInWords(accuracy: Transition | null): string {
  if (!accuracy) return "not scored";
  const { first, last } = accuracy;
  return `${first.toFixed(3)} → ${last.toFixed(3)}${changeInWords(accuracy)}`;
}

export function thinkingInWords(thinking: Transition): string {
  const { first, last } = thinking;
  return `${percent(first)} → ${percent(last)} of the answers open a trace${changeInWords(thinking)}`;
}

function changeInWords({ kind, from, to, share }: Transition): string {
  if (kind === "none") return ", no transition";
  if (kind === "unknown") return "; too few points to tell how it changes";
  return `: ${kind}, between λ ${from} and ${to} (${percent(share!)} of the axis; a straight line takes 80 %)`;
}

export function functionalInWords({ count, of, least }: CurveFindings["functional"]): string {
  return `${count} of ${of} children; in the least of them ${percent(least)} of the answers end and say something`;
}

function percent(value: number): string {
  return `${Math.round(100 * value)} %`;
}
