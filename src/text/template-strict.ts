/**
 * What Jinja in Python does otherwise than the template library: it prints None, True and lists as Python does,
 * and with StrictUndefined a name that is not there is an error unless the template asks whether it is.
 *
 * For templates that render data (lm-evaluation-harness); chat templates rely on the library's ways.
 */
import { Environment } from "@huggingface/jinja";

/** Of the library's values what is used here. */
export interface RuntimeValue {
  type: string;
  value: unknown;
  builtins?: Map<string, unknown>;
}

interface TestedNode {
  type: string;
  value?: unknown;
  test?: { value?: unknown };
  filter?: { value?: unknown; callee?: { value?: unknown } };
}

/** Nodes that give no value, or the text of their block. */
export const STATEMENTS: ReadonlySet<string> = new Set([
  ...["If", "For", "Set", "Macro", "Comment", "CallStatement", "FilterStatement", "Break", "Continue"],
]);

/** `x is defined`, `x | default(…)`: x need not be there. */
export function asksWhetherDefined({ type, test, filter }: TestedNode): boolean {
  if (type === "TestExpression") return test?.value === "defined" || test?.value === "undefined";
  if (type !== "FilterExpression") return false;
  const name = filter?.value ?? filter?.callee?.value;
  return name === "default" || name === "d";
}

/** Throws for a name or a member that is not there. */
export function requireDefined(node: { type: string; value?: unknown } | undefined): void {
  if (node?.type === "Identifier") throw new Error(`"${String(node.value)}" is undefined`);
  if (node?.type === "MemberExpression") throw new Error("a member is undefined");
}

/** list.index(x), which the library lacks and tasks use to make an index of a letter. */
export function addListMethods(value: RuntimeValue): void {
  if (value.type !== "ArrayValue" || !value.builtins || value.builtins.has("index")) return;
  const items = value.value as RuntimeValue[];
  const index = (wanted: unknown): number => {
    const found = items.findIndex((item) => item.value === wanted);
    if (found < 0) throw new Error(`${JSON.stringify(wanted)} is not in the list`);
    return found;
  };
  // The environment makes the library's function of ours.
  value.builtins.set("index", new Environment().set("index", index));
}

/** str(value). */
export function printAsPython(value: RuntimeValue): string {
  return value.type === "StringValue" ? (value.value as string) : represent(value);
}

/** repr(value). */
function represent({ type, value }: RuntimeValue): string {
  switch (type) {
    case "StringValue":
      return quoteAsPython(value as string);
    case "IntegerValue":
      return String(value);
    case "FloatValue":
      return representFloat(value as number);
    case "BooleanValue":
      return value ? "True" : "False";
    case "NullValue":
      return "None";
    case "ArrayValue":
      return `[${(value as RuntimeValue[]).map(represent).join(", ")}]`;
    case "ObjectValue": {
      const entries = [...(value as Map<string, RuntimeValue>)];
      return `{${entries.map(([key, item]) => `${quoteAsPython(key)}: ${represent(item)}`).join(", ")}}`;
    }
    case "UndefinedValue":
      throw new Error("a value that is printed is undefined");
    default:
      throw new Error(`a value of the kind ${type} cannot be printed`);
  }
}

function representFloat(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e16 || size < 1e-4)) {
    const [mantissa, exponent = "+0"] = value.toExponential().split("e");
    return `${mantissa}e${exponent.charAt(0)}${exponent.slice(1).padStart(2, "0")}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

const ESCAPES: Record<string, string> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function quoteAsPython(text: string): string {
  const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replace(/[\\\n\r\t'\p{Cc}]/gu, (char) => {
    if (char === "'") return mark === "'" ? "\\'" : "'";
    return ESCAPES[char] ?? `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
  return `${mark}${body}${mark}`;
}
