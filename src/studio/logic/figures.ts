/** What runs are plotted and listed by. */
import type { RunSummary } from "../../server/api.ts";
import { formatShare } from "./format.ts";

export interface Figure {
  y: number;
  /** 95 % interval. */
  low?: number;
  high?: number;
}

export interface Measure {
  id: "accuracy" | "tokens" | "thinking" | "refused";
  title: string;
  /** Of the axis. */
  label: string;
  isShare: boolean;
  read: (summary: RunSummary) => Figure | undefined;
}

type Share = { value: number; low: number; high: number };

const share = ({ value, low, high }: Share): Figure => ({ y: value, low, high });

export const MEASURES: readonly Measure[] = [
  {
    ...{ id: "accuracy", title: "Accuracy", label: "right answers", isShare: true },
    read: ({ overall }) => (overall?.accuracy ? share(overall.accuracy) : undefined),
  } as Measure,
  {
    ...{ id: "tokens", title: "Output tokens", label: "tokens, mean", isShare: false },
    read: ({ overall }) => (overall?.tokens ? { y: overall.tokens.mean } : undefined),
  } as Measure,
  {
    ...{ id: "thinking", title: "Thinking", label: "answers that open a trace", isShare: true },
    read: ({ overall }) => (overall ? share(overall.opensThinking) : undefined),
  } as Measure,
  {
    ...{ id: "refused", title: "Refusals", label: "answers that are refusals", isShare: true },
    read: ({ overall }) => (overall ? share(overall.refused) : undefined),
  } as Measure,
];

export function measureOf(id: Measure["id"]): Measure {
  return MEASURES.find((measure) => measure.id === id)!;
}

/** A figure as tables say it. */
export function figureText({ read, isShare }: Measure, summary: RunSummary | null): string {
  const figure = summary ? read(summary) : undefined;
  if (!figure) return "–";
  return isShare ? formatShare(figure.y) : figure.y.toFixed(1);
}

/** With its interval, where it has one. */
export function figureWords(measure: Measure, summary: RunSummary): string {
  const { low, high } = measure.read(summary) ?? {};
  const text = figureText(measure, summary);
  return low === undefined || high === undefined
    ? text
    : `${text}, 95 % ${formatShare(low)} to ${formatShare(high)}`;
}

/** Indices of points that no other beats: none has more accuracy for as few tokens. By rising tokens. */
export function paretoFront(points: readonly { x: number; y: number }[]): number[] {
  const order = points
    .map((_, index) => index)
    .sort((a, b) => points[a]!.x - points[b]!.x || points[b]!.y - points[a]!.y);
  let best = Number.NEGATIVE_INFINITY;
  return order.filter((index) => {
    if (points[index]!.y <= best) return false;
    best = points[index]!.y;
    return true;
  });
}
