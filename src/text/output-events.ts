/** What a model's output is made of, as plain data: the events of a stream, and the whole of them. */

export type OutputEvent =
  | { kind: "reasoning"; text: string }
  | { kind: "content"; text: string }
  /** Once the name is complete; calls count from 0. */
  | { kind: "tool-call"; index: number; id: string; name: string }
  /** A piece of the arguments as the model writes them, fences left out. */
  | { kind: "tool-arguments"; index: number; text: string }
  /** complete: the model closed the call; isValid: its arguments are JSON. */
  | { kind: "tool-call-end"; index: number; complete: boolean; isValid: boolean }
  /** unclosedReasoning: the trace was opened and never closed, so there may be no answer. */
  | { kind: "finish"; reason: FinishReason; unclosedReasoning: boolean };

export type FinishReason = "stop" | "length" | "tool_calls";

export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
  complete: boolean;
  isValid: boolean;
}

export interface Output {
  reasoning: string;
  content: string;
  toolCalls: ToolCall[];
  reason?: FinishReason;
  unclosedReasoning: boolean;
}

/** The whole answer from its events. */
export function gatherOutput(events: Iterable<OutputEvent>): Output {
  const output: Output = { reasoning: "", content: "", toolCalls: [], unclosedReasoning: false };
  for (const event of events) {
    switch (event.kind) {
      case "reasoning":
      case "content":
        output[event.kind] += event.text;
        break;
      case "tool-call": {
        const { id, name } = event;
        output.toolCalls.push({ id, name, arguments: "", complete: false, isValid: false });
        break;
      }
      case "tool-arguments":
        output.toolCalls[event.index]!.arguments += event.text;
        break;
      case "tool-call-end": {
        const { complete, isValid } = event;
        Object.assign(output.toolCalls[event.index]!, { complete, isValid });
        break;
      }
      case "finish":
        output.reason = event.reason;
        output.unclosedReasoning = event.unclosedReasoning;
        break;
      default:
        throw event satisfies never;
    }
  }
  return output;
}
