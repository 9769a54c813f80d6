/**
 * A file of lm-evaluation-harness with what it includes and its data -> a task.
 *
 * Templates are strangers' programs: they run in a thread of their own, with limits on time and output.
 */
import { dirname, isAbsolute, join } from "node:path";
import { printable } from "../checkpoint/shown.ts";
import { TemplateThread } from "../text/template-thread.ts";
import type { Value } from "../yaml/document.ts";
import { Faults } from "../yaml/faults.ts";
import { readFields } from "../yaml/fields.ts";
import type { Position } from "../yaml/position.ts";
import { quote } from "../yaml/wording.ts";
import { type HarnessSettings, readHarness } from "./adapters/lm-eval.ts";
import { draftHarness, type Render, withAllFields } from "./adapters/lm-eval-rows.ts";
import { type HarnessFields, refuse } from "./adapters/placed.ts";
import { type Row, readRows } from "./data-file.ts";
import type { FileReader } from "./file-reader.ts";
import { RowReader } from "./row-reader.ts";
import type { Question, Task } from "./task.ts";
import { MAX_PROMPT_CHARACTERS } from "./vocabulary.ts";

const MAX_INCLUDES = 20;
/** Of one template with one row; those of known tasks take under a millisecond. */
const RENDER_MS = 2000;

/** undefined where faults were added. `root`: of `file`, whose faults are `faults`. */
export async function loadHarness(
  root: Value,
  { file, faults, reader }: { file: string; faults: Faults; reader: FileReader },
): Promise<{ task: Omit<Task, "digest">; at: Position } | undefined> {
  const included: Faults[] = [];
  const fields = await collectFields(root, { file, faults, reader, included, open: [file] });
  const settings = readHarness(fields, { at: root.at, faults });
  const isSound = !faults.found && !included.some(({ found }) => found);
  for (const each of included) reader.take(each);
  const questions = await readAll(settings, { file, reader, isSound });
  if (!isSound || !questions) return undefined;
  const { name, nameAt, scoring, generation } = settings;
  return { task: { name, file, mode: "raw", scoring, generation, questions }, at: nameAt };
}

interface Including {
  file: string;
  faults: Faults;
  reader: FileReader;
  /** Of the files that are included. */
  included: Faults[];
  /** Files that are being read, the outermost first. */
  open: readonly string[];
}

/** The fields of a file over those of the files it includes. */
async function collectFields(
  root: Value,
  { file, faults, reader, included, open }: Including,
): Promise<HarnessFields> {
  const fields: HarnessFields = new Map();
  const own = readFields(root, "the task", undefined, faults) ?? new Map();
  const include = own.get("include");
  const items: Value[] = include
    ? include.value.kind === "list"
      ? include.value.items
      : [include.value]
    : [];
  for (const item of items) {
    const placed = { field: { ...include!, value: item }, faults };
    if (item.kind !== "scalar" || typeof item.value !== "string" || item.value === "") {
      refuse(placed, "it is no path", "the path of a file, relative to this one");
      continue;
    }
    const path = isAbsolute(item.value) ? item.value : join(dirname(file), item.value);
    if (open.includes(path) || included.length >= MAX_INCLUDES) {
      const what = open.includes(path)
        ? `${quote(path)} includes itself`
        : `more than ${MAX_INCLUDES} files are included`;
      refuse(placed, what, "files that end");
      continue;
    }
    const inner = new Faults(path, faults.kind);
    included.push(inner);
    const tree = await reader.readYaml(path, { place: { faults, at: item.at }, faults: inner });
    if (!tree) continue;
    const more = await collectFields(tree, {
      file: path,
      faults: inner,
      reader,
      included,
      open: [...open, path],
    });
    for (const [key, value] of more) if (key !== "task_list" && key !== "include") fields.set(key, value);
  }
  for (const [key, field] of own) fields.set(key, { field, faults });
  return fields;
}

interface Reading {
  file: string;
  reader: FileReader;
  /** Whether questions are worth making: else every row would complain about the same. */
  isSound: boolean;
}

async function readAll(
  settings: HarnessSettings,
  { file, reader, isSound }: Reading,
): Promise<Question[] | undefined> {
  const files: { path: string; rows: Row[]; faults: Faults }[] = [];
  for (const { path, at, faults } of settings.data) {
    const dataFile = isAbsolute(path) ? path : join(dirname(file), path);
    const bytes = await reader.read(dataFile, { faults, at });
    if (!bytes) return undefined;
    const dataFaults = new Faults(dataFile, faults.kind);
    const rows = readRows(bytes, "data.json", dataFaults);
    if (rows.length === 0 && !dataFaults.found)
      dataFaults.add(
        { line: 1, column: 1 },
        "no-questions",
        "Cannot read the data: it has no rows, wanted at least one question",
      );
    files.push({ path: dataFile, rows, faults: dataFaults });
  }
  const questions: Question[] = [];
  if (isSound && !files.some(({ faults }) => faults.found)) {
    const thread = new TemplateThread();
    try {
      const all = withAllFields(files.flatMap(({ rows }) => rows));
      let next = 0;
      for (const { rows, faults } of files) {
        for (const _ of rows) {
          const row = new RowReader(all[next]!, faults);
          const draft = await draftHarness(row, settings, renderer(thread));
          next++;
          if (!draft) continue;
          const { prompt, answers, choices } = draft;
          // The harness counts documents of a split from 0, over all of its files.
          questions.push({
            id: String(next - 1),
            turns: [prompt],
            topic: settings.name,
            answers,
            ...(choices ? { choices } : {}),
          });
          if (faults.count >= MAX_ROW_FAULTS) break;
        }
      }
    } finally {
      await thread.close();
    }
  }
  const isGood = !files.some(({ faults }) => faults.found);
  for (const { faults } of files) reader.take(faults);
  return isGood ? questions : undefined;
}

/** A template that runs out of time on each row would take all day. */
const MAX_ROW_FAULTS = 10;

function renderer(thread: TemplateThread): Render {
  return async (source, fields, row) => {
    const limits = { maxCharacters: MAX_PROMPT_CHARACTERS, now: 0 };
    const answer = await thread.run({ source, dialect: "strict", variables: fields, ...limits }, RENDER_MS);
    const fail = (what: string) =>
      row.fault("template", `Cannot render the template ${quote(source)}: ${printable(what)}`);
    switch (answer.kind) {
      case "rendered":
        return answer.text;
      case "failed":
        return fail(`${answer.failure.message.slice(0, 200)}, wanted a text`);
      case "timeout":
        return fail(`it ran for ${RENDER_MS} ms, wanted less`);
      case "interrupted":
      case "died":
        return fail("it took more memory than there is for it, wanted less");
      default:
        return answer satisfies never;
    }
  };
}
