/** What a request wants of the chat template: tools, and variables such as whether to think. */
import type { ChatTemplate } from "../text/chat-template.ts";
import { TEMPLATE_GLOBALS } from "../text/template-program.ts";
import { invalid } from "./api-error.ts";
import type { ChatRequest, ChatTool } from "./chat-request.ts";

/** Variables that templates of this family and its kin read to think, or not to. */
const THINKING = ["thinking", "enable_thinking"] as const;

/** What every template gets of the conversation and of the language itself. */
const TAKEN = new Set([
  ...TEMPLATE_GLOBALS,
  ...["messages", "tools", "add_generation_prompt", "bos_token", "eos_token"],
]);

/** The tools that the template is given; undefined: none. Throws ApiError 400 where it knows no tools. */
export function toolsOf(request: ChatRequest, template: ChatTemplate): ChatTool[] | undefined {
  const { tools, tool_choice: choice } = request;
  const isForced = choice === "required" || typeof choice === "object";
  if (!tools || tools.length === 0) {
    if (!isForced || choice === null) return undefined;
    throw invalid("tool_choice", '"tool_choice" asks for a call, and there are no "tools"');
  }
  const names = tools.map((tool) => tool.function.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw invalid("tools", `"tools" has two functions of the name "${twice}", wanted one`);
  if (typeof choice === "object" && choice !== null && !names.includes(choice.function.name))
    throw invalid(
      "tool_choice",
      `"tool_choice" names "${choice.function.name}", wanted one of ${names.join(", ")}`,
    );
  if (choice === "none") return undefined;
  if (template.toolGrammar !== "none") return tools;
  throw invalid("tools", `The chat template of "${request.model}" knows no tools`, "tools_not_supported");
}

/** Throws ApiError 400 for a wish to think, or not to, that the template has no switch for. */
export function variablesOf(request: ChatRequest, template: ChatTemplate): Record<string, unknown> {
  const variables: Record<string, unknown> = { ...request.chat_template_kwargs };
  const taken = Object.keys(variables).find((name) => TAKEN.has(name));
  if (taken !== undefined)
    throw invalid("chat_template_kwargs", `"chat_template_kwargs" sets "${taken}", which the request has`);
  const effort = request.reasoning_effort;
  if (effort == null) return variables;
  const { text } = template.textFor();
  const known = THINKING.filter((name) => text.includes(name));
  if (known.length === 0) {
    const message = `The chat template of "${request.model}" has no switch for thinking, so "reasoning_effort" cannot be followed`;
    throw invalid("reasoning_effort", message, "unsupported_parameter");
  }
  for (const name of known) variables[name] ??= effort !== "none";
  return variables;
}
