/**
 * Paths -> tasks, or a TaskError with everything that is wrong with all of them.
 *
 * A path is a task's YAML file, a folder of them, or a data file in a public format by itself. Files of
 * lm-evaluation-harness are known by their keys. Nothing is ever downloaded: data are files beside the task.
 */
import { basename, dirname, isAbsolute, join } from "node:path";
import { TaskError } from "../base/errors.ts";
import { fileNames, folderExists } from "../checkpoint/node.ts";
import { START, type Value } from "../yaml/document.ts";
import type { Faults } from "../yaml/faults.ts";
import type { Position } from "../yaml/position.ts";
import { escapeControls, quote } from "../yaml/wording.ts";
import { ADAPTERS, recognise } from "./adapters/formats.ts";
import { isHarness } from "./adapters/lm-eval.ts";
import { readRows } from "./data-file.ts";
import { FileReader, faultsOf } from "./file-reader.ts";
import { loadHarness } from "./load-harness.ts";
import { digestOf, type KnownIds, type QuestionRules, readQuestions } from "./questions.ts";
import { GENERATION, readSettings } from "./read-settings.ts";
import type { Question, Task } from "./task.ts";

const DATA_FILE = /\.(?:jsonl|ndjson|json|csv)$/i;
const YAML_FILE = /\.ya?ml$/i;

/**
 * Reads tasks in the order of the paths; those of a folder in the order of their names, where a name that begins
 * with "_" is a part of other files.
 *
 * @throws TaskError with every fault of every file, and nothing else
 */
export async function loadTasks(paths: readonly string[]): Promise<Task[]> {
  const loader = new Loader();
  if (paths.length === 0) loader.add("no-tasks", "Cannot load tasks: no file is named, wanted at least one");
  for (const path of paths) {
    try {
      await loader.loadPath(path);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      loader.add(
        "internal",
        `internal: reading ${quote(path)} failed: ${escapeControls(what.slice(0, 200))}`,
      );
    }
  }
  return loader.finish();
}

class Loader {
  readonly #tasks: { task: Task; at: Position }[] = [];
  readonly #reader = new FileReader();

  add(code: string, message: string, note?: string): void {
    this.#reader.problems.push({ code, message, ...(note === undefined ? {} : { note }) });
  }

  finish(): Task[] {
    const first = new Map<string, Task>();
    for (const { task, at } of this.#tasks) {
      const other = first.get(task.name);
      if (!other) {
        first.set(task.name, task);
        continue;
      }
      const faults = faultsOf(task.file);
      const message = `Cannot use the task ${quote(task.name)}: another has its name, wanted names that differ`;
      faults.add(at, "duplicate-task", message, `The first is in "${escapeControls(other.file)}"`);
      this.#reader.take(faults);
    }
    const { problems } = this.#reader;
    if (problems.length > 0) throw new TaskError(problems);
    return this.#tasks.map(({ task }) => task);
  }

  async loadPath(path: string): Promise<void> {
    if (!folderExists(path)) return this.#loadFile(path);
    const faults = faultsOf(path);
    const names = await this.#reader.attempt({ faults, at: START }, () => fileNames(path));
    this.#reader.take(faults);
    if (!names) return;
    const tasks = names.filter((name) => YAML_FILE.test(name) && !name.startsWith("_"));
    if (tasks.length === 0)
      this.add("no-tasks", `Cannot load tasks from the folder ${quote(path)}: it has no *.yaml, wanted one`);
    for (const name of tasks) await this.#loadFile(join(path, name));
  }

  async #loadFile(file: string): Promise<void> {
    const faults = faultsOf(file);
    if (DATA_FILE.test(file)) await this.#loadDataFile(file, faults);
    else if (YAML_FILE.test(file)) await this.#loadYaml(file, faults);
    else {
      const wanted = "a folder, *.yaml, or *.jsonl, *.json or *.csv in a public format";
      this.add(
        "unknown-file",
        `Cannot load a task from ${quote(file)}: its name has another ending, wanted ${wanted}`,
      );
    }
    this.#reader.take(faults);
  }

  async #loadYaml(file: string, faults: Faults): Promise<void> {
    const root = await this.#reader.readYaml(file, { place: { faults, at: START }, faults });
    if (!root) return;
    if (!isHarness(root)) return this.#loadTask(root, file, faults);
    const loaded = await loadHarness(root, { file, faults, reader: this.#reader });
    if (loaded) this.#addTask(loaded.task, loaded.at);
  }

  async #loadTask(root: Value, file: string, faults: Faults): Promise<void> {
    const settings = readSettings(root, faults);
    if (!settings) return;
    const { name, format, scoring, mode, generation, fields, id } = settings;
    const adapter = ADAPTERS[format];
    const known: KnownIds = new Map();
    const questions: Question[] = [];
    const isSound = !faults.found; // else every row would complain about the same
    for (const { path, at } of settings.data) {
      const dataFile = isAbsolute(path) ? path : join(dirname(file), path);
      const bytes = await this.#reader.read(dataFile, { faults, at });
      if (!bytes) continue;
      const prefix = settings.data.length > 1 ? `${basename(path)}:` : "";
      const rules: QuestionRules = { adapter, scoring, fields, id, mode, prefix, topic: name };
      const dataFaults = faultsOf(dataFile);
      const rows = readRows(bytes, dataFile, dataFaults, adapter.form);
      if (rows.length === 0 && !dataFaults.found) addEmpty(dataFaults);
      if (isSound)
        questions.push(...readQuestions(rows, rules, { file: dataFile, known, faults: dataFaults }));
      this.#reader.take(dataFaults);
    }
    if (faults.found) return;
    const { description, system, nameAt } = settings;
    this.#addTask(
      {
        name,
        ...(description === undefined ? {} : { description }),
        file,
        ...(system === undefined ? {} : { system }),
        mode,
        scoring,
        generation,
        questions,
      },
      nameAt,
    );
  }

  /** A data file without a task file: what it is its fields say. */
  async #loadDataFile(file: string, faults: Faults): Promise<void> {
    const bytes = await this.#reader.read(file, { faults, at: START });
    if (!bytes) return;
    const rows = readRows(bytes, file, faults, ADAPTERS.mmlu.form);
    const first = rows[0];
    if (!first) {
      if (!faults.found) addEmpty(faults);
      return;
    }
    const adapter = recognise(first.fields);
    if (!adapter) {
      const message =
        "Cannot tell the format of the data: its fields are those of none that is known, wanted GSM8K, AIME, MMLU, MT-Bench or SpeechMap";
      faults.add(
        first.at,
        "unknown-format",
        message,
        'A task file can say what the fields are: "data", "prompt", "answer"',
      );
      return;
    }
    const name = nameOf(file);
    const { scoring } = adapter;
    const rules: QuestionRules = { adapter, scoring, fields: {}, mode: "chat", prefix: "", topic: name };
    const questions = readQuestions(rows, rules, { file, known: new Map(), faults });
    const generation = { ...GENERATION, stop: [] };
    if (!faults.found) this.#addTask({ name, file, mode: "chat", scoring, generation, questions }, START);
  }

  #addTask(task: Omit<Task, "digest">, at: Position): void {
    this.#tasks.push({ task: { ...task, digest: digestOf(task) }, at });
  }
}

function addEmpty(faults: Faults): void {
  faults.add(START, "no-questions", "Cannot read the data: it has no rows, wanted at least one question");
}

/** "AIME 2024 (I).jsonl" -> "AIME-2024-I". */
function nameOf(file: string): string {
  const name = basename(file)
    .replace(/\.[^.]*$/, "")
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+|-+$/g, "");
  return name.slice(0, 100) || "task";
}
