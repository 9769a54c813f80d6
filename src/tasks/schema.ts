/**
 * The JSON Schema of a task file, for editors: completion, hover texts and red lines while typing.
 *
 * Written to tasks/task.schema.json, which the first line of a task names. It accepts every task file that
 * loadTasks() accepts; what needs the data or more than one key (a scoring that fits the format, fields that are
 * there) only the reader can say. Files of lm-evaluation-harness have a format of their own.
 */
import { z } from "zod";
import { FORMATS, MAX_TOKENS, MODES, NORMALISATIONS, SCORINGS, TASK_NAME } from "./vocabulary.ts";

const field = (description: string) => z.string().regex(/\S/).meta({ description }).optional();

const ignoreCase = z
  .boolean()
  .meta({ description: "Whether upper and lower case are the same. Default: false." });

const scoring = z
  .union([
    z.enum(SCORINGS),
    z.strictObject({ kind: z.enum(["exact", "contains"]), ignore_case: ignoreCase.optional() }),
    z.strictObject({
      kind: z.literal("numeric"),
      tolerance: z
        .number()
        .min(0)
        .meta({ description: "How far the number may be off. Default: 0." })
        .optional(),
    }),
    z.strictObject({
      kind: z.literal("regex"),
      pattern: z.string().regex(/\S/).meta({
        description:
          "A regular expression of JavaScript: the last match's first group is compared with the answers.",
      }),
      flags: z
        .string()
        .regex(/^[imsu]*$/)
        .meta({ description: "Some of the letters i, m, s, u." })
        .optional(),
    }),
    z.strictObject({
      kind: z.literal("choice"),
      method: z
        .enum(["letter", "likelihood"])
        .meta({
          description:
            "`letter` (default): the answer names a choice. `likelihood`: the likeliest choice behind the prompt.",
        })
        .optional(),
      normalise: z
        .enum(NORMALISATIONS)
        .meta({ description: "By what length likelihoods are divided. Default: none." })
        .optional(),
      delimiter: z
        .string()
        .meta({ description: "Between the prompt and a choice. Default: a space." })
        .optional(),
    }),
    z.strictObject({
      kind: z.literal("refusal"),
      wanted: z
        .enum(["answer", "decline"])
        .meta({ description: "What is right: to answer (default) or to decline." })
        .optional(),
    }),
    z.strictObject({ kind: z.literal("none") }),
  ])
  .meta({
    description:
      "How answers are scored: a kind, or a mapping with `kind` and its settings. Default: that of the format, `exact` for jsonl.",
  });

const text = z.string().min(1);

const generation = z.strictObject({
  max_tokens: z
    .int()
    .min(1)
    .max(MAX_TOKENS)
    .meta({ description: "Tokens of an answer at the most, thinking included. Default: 2048." })
    .optional(),
  temperature: z.number().min(0).max(100).meta({ description: "Default: 0, greedy." }).optional(),
  top_p: z.number().gt(0).max(1).meta({ description: "Default: 1." }).optional(),
  stop: z
    .union([text, z.array(text)])
    .meta({ description: "Texts that end an answer and are left out of it." })
    .optional(),
});

const path = z.string().regex(/\S/);

const task = z
  .strictObject({
    task: z
      .union([z.string().regex(TASK_NAME), z.number()])
      .meta({ description: "The name: letters, digits, `.`, `_` and `-`." }),
    description: field("What the task asks, for readers."),
    data: z
      .union([path, z.array(path).min(1)])
      .meta({ description: "Data files, relative to this one: *.jsonl, *.json or *.csv." }),
    format: z
      .enum(FORMATS)
      .meta({ description: "The format of the data. Default: jsonl, any fields." })
      .optional(),
    prompt: field(
      "The field of the question, or a template with {{field}}; {{choices}} lists the choices. Default: question.",
    ),
    answer: field("The field of the wanted answer: a text, a number or a list of them. Default: answer."),
    id: field("The field of ids. Default: id where there is one, else the line."),
    topic: field(
      "The field of topics, by which rates are grouped. Default: topic where there is one, else the task.",
    ),
    choices: field("The field of the choices. Default: choices."),
    system: field("A system message before the question."),
    mode: z
      .enum(MODES)
      .meta({ description: "`chat` (default): through the chat template. `raw`: the prompt as it is." })
      .optional(),
    scoring: scoring.optional(),
    generation: generation.meta({ description: "How answers are generated." }).optional(),
  })
  .meta({ title: "Chimera task", description: "Questions, and how answers to them are scored." });

/** JSON Schema, draft 2020-12. */
export function taskSchema(): object {
  return z.toJSONSchema(task, { io: "input", target: "draft-2020-12" });
}
