/**
 * How a family of models writes tool calls, read from its chat template.
 *
 * V3 and R1 write the call's type before the separator and its name after it, V3.1 the name before it. The
 * output does not tell them apart ("function" could be a name), so the template that taught the model does.
 */

/** "none": the template knows no tool calls, and their marks are ordinary text. */
export type ToolGrammar = "v3" | "v3.1" | "none";

export const TOOL_MARKERS = {
  callsBegin: "<｜tool▁calls▁begin｜>",
  callBegin: "<｜tool▁call▁begin｜>",
  separator: "<｜tool▁sep｜>",
  callEnd: "<｜tool▁call▁end｜>",
  callsEnd: "<｜tool▁calls▁end｜>",
} as const;

/** Decided by the first call that the template renders or shows. */
export function toolGrammarOf(template: string): ToolGrammar {
  const { callsBegin, callBegin, separator } = TOOL_MARKERS;
  if (!template.includes(callsBegin)) return "none";
  const start = template.indexOf(callBegin);
  const end = template.indexOf(separator, start);
  if (start < 0 || end < 0) return "none";
  // '<｜tool▁call▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' against … + tool['function']['name'] + …
  const head = template.slice(start + callBegin.length, end);
  return /name/i.test(head) ? "v3.1" : "v3";
}
