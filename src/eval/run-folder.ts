/**
 * The folder of one evaluation: config.json (what it is), records.ndjson (a line per answer), timings.ndjson and
 * summary.json, whose presence marks a complete run. Records are appended as answers come, in whatever order that
 * is, and put into the order of the questions at the end: a run that was killed and resumed ends with the bytes of
 * one that was not.
 *
 * A run is what its settings say. A folder that holds another one is refused, never overwritten.
 */
import { join } from "node:path";
import { BuildError, EvaluationError } from "../base/errors.ts";
import { acquireLock, type Lock } from "../checkpoint/lock.ts";
import { fileExists, isRegularFile, readTextFile, writeFileAtomically } from "../checkpoint/node.ts";
import { type JsonLines, openJsonLines, readJsonLines } from "../checkpoint/node-lines.ts";
import { shown } from "../checkpoint/shown.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import { openOutput } from "../checkpoint/stores.ts";
import type { EvalRecord, EvalTiming } from "./record.ts";
import { RUN_FORMAT, type RunConfig, settingsDifferences } from "./run-config.ts";
import type { RunSummary } from "./summary.ts";

const CONFIG = "config.json";
const RECORDS = "records.ndjson";
const TIMINGS = "timings.ndjson";
const SUMMARY = "summary.json";
const OURS = new Set([CONFIG, RECORDS, TIMINGS, SUMMARY]);

export interface FinishedRun {
  folder: string;
  config: RunConfig;
  records: EvalRecord[];
  timings: EvalTiming[];
  /** undefined: the run is not complete. */
  summary: RunSummary | undefined;
}

/** Names a question within a run. */
export function keyOf({ task, id }: { task: string; id: string }): string {
  return JSON.stringify([task, id]);
}

/** Whether a folder is that of a run. */
export function isRunFolder(folder: string): boolean {
  // A pipe in the place of any would be waited for.
  const others = [TIMINGS, SUMMARY].map((name) => join(folder, name));
  const isUsual = others.every((path) => !fileExists(path) || isRegularFile(path));
  return isUsual && isRegularFile(join(folder, CONFIG)) && isRegularFile(join(folder, RECORDS));
}

/** What a run is and came to, without its records: a moment's work, however many there are. Throws EvaluationError. */
export async function readRunHead(folder: string): Promise<Pick<FinishedRun, "config" | "summary">> {
  const config = await readConfig(folder);
  if (!config) {
    const note = "A run's folder is one that chimera eval has made";
    const what = `it has no ${CONFIG}, wanted a run`;
    throw new EvaluationError("damaged", `Cannot read "${shown(folder)}": ${what}`, { note });
  }
  const path = join(folder, SUMMARY);
  const text = fileExists(path) ? await readTextFile(path, 100_000_000) : undefined;
  return { config, summary: text === undefined ? undefined : (parseJson(text, path) as RunSummary) };
}

/** Reads a run, also one that is under way. Throws EvaluationError for what is none. */
export async function readRun(folder: string): Promise<FinishedRun> {
  const { config, summary } = await readRunHead(folder);
  const records = readJsonLines(join(folder, RECORDS)) as EvalRecord[];
  const timings = readJsonLines(join(folder, TIMINGS)) as EvalTiming[];
  requireLines({ lines: records }, join(folder, RECORDS));
  requireLines({ lines: timings }, join(folder, TIMINGS));
  return { folder, config, records, timings, summary };
}

async function readConfig(folder: string): Promise<RunConfig | undefined> {
  const path = join(folder, CONFIG);
  if (!fileExists(path)) return undefined;
  const config = parseJson(await readTextFile(path, 10_000_000), path) as RunConfig;
  if (config?.format === RUN_FORMAT && config.version === 1 && config.settings) return config;
  const is = `its format is ${JSON.stringify(config?.format)}, version ${JSON.stringify(config?.version)}`;
  throw new EvaluationError(
    "damaged",
    `Cannot read "${shown(path)}": ${is}, wanted "${RUN_FORMAT}", version 1`,
  );
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const what = `it is no JSON (${(error as Error).message}), wanted what chimera eval wrote`;
    throw new EvaluationError("damaged", `Cannot read "${shown(path)}": ${what}`);
  }
}

/** A run that is under way, or kept nowhere. */
export class RunFolder {
  /** As it was begun. */
  readonly config: RunConfig;
  readonly folder: string | undefined;
  /** By key. */
  readonly records: Map<string, EvalRecord> = new Map();
  readonly timings: Map<string, EvalTiming> = new Map();
  readonly session: number;
  readonly #store: OutputStore | undefined;
  readonly #lock: Lock | undefined;
  readonly #recordLines: JsonLines | undefined;
  readonly #timingLines: JsonLines | undefined;

  private constructor(
    config: RunConfig,
    place?: { folder: string; store: OutputStore; lock: Lock; records: JsonLines; timings: JsonLines },
  ) {
    this.config = config;
    this.folder = place?.folder;
    this.#store = place?.store;
    this.#lock = place?.lock;
    this.#recordLines = place?.records;
    this.#timingLines = place?.timings;
    for (const record of (place?.records.lines ?? []) as EvalRecord[])
      this.records.set(keyOf(record), record);
    let session = -1;
    for (const timing of (place?.timings.lines ?? []) as EvalTiming[]) {
      this.timings.set(keyOf(timing), timing);
      session = Math.max(session, timing.session);
    }
    this.session = session + 1;
  }

  /** A run that is kept in memory only. */
  static inMemory(config: RunConfig): RunFolder {
    return new RunFolder(config);
  }

  /**
   * Begins a run in a folder, or goes on with it. Throws EvaluationError "locked" while another process is at it,
   * "other-run" when the folder holds a run of other settings or anything else.
   */
  static async open(folder: string, config: RunConfig): Promise<RunFolder> {
    const store = openOutput(folder);
    let lock: Lock;
    try {
      await store.checkPlace();
      await refuseStrangers(folder, store);
      // Before the lock, which is a file in the folder: what is not ours stays as it is.
      await heldConfig(folder, config);
      await store.prepare();
      lock = await acquireLock(store, { from: 0, to: 1 }, { verb: "evaluate", doing: "evaluating" });
    } catch (error) {
      throw asEvaluationError(error);
    }
    const lines: JsonLines[] = [];
    try {
      // Again: somebody may have begun a run before us.
      const held = await heldConfig(folder, config);
      if (!held) await writeFileAtomically(join(folder, CONFIG), asText(config));
      lines.push(openJsonLines(join(folder, RECORDS)));
      lines.push(openJsonLines(join(folder, TIMINGS)));
      const [records, timings] = lines as [JsonLines, JsonLines];
      requireLines(records, join(folder, RECORDS));
      requireLines(timings, join(folder, TIMINGS));
      return new RunFolder(held ?? config, { folder, store, lock, records, timings });
    } catch (error) {
      for (const opened of lines) opened.close();
      await lock.release();
      throw error;
    }
  }

  /** Keeps an answer. Its record comes last: it is what says that the question is done. */
  add(record: EvalRecord, timing: EvalTiming): void {
    this.#timingLines?.append(timing);
    this.#recordLines?.append(record);
    this.records.set(keyOf(record), record);
    this.timings.set(keyOf(timing), timing);
  }

  /** Puts everything in order and writes the summary. `keys`: of the questions, in order. */
  async finish(keys: readonly string[], summary: RunSummary): Promise<void> {
    if (this.folder === undefined) return;
    this.#closeLines();
    const text = (lines: ReadonlyMap<string, unknown>) =>
      keys.flatMap((key) => (lines.has(key) ? [`${JSON.stringify(lines.get(key))}\n`] : [])).join("");
    await writeFileAtomically(join(this.folder, RECORDS), text(this.records));
    await writeFileAtomically(join(this.folder, TIMINGS), text(this.timings));
    await writeFileAtomically(join(this.folder, SUMMARY), asText(summary));
  }

  /** Ends the work on the folder. Answers stay; a run without any leaves nothing. */
  async close({ isComplete }: { isComplete: boolean }): Promise<void> {
    const isEmpty = this.records.size === 0;
    try {
      this.#closeLines();
      if (isEmpty) for (const name of OURS) await this.#store?.remove(name);
    } finally {
      await this.#lock?.release();
    }
    if (isComplete || isEmpty) await this.#store?.removeState();
  }

  #closeLines(): void {
    this.#recordLines?.close();
    this.#timingLines?.close();
  }
}

/** Lines of somebody else would fail much later, and nowhere near. */
function requireLines({ lines }: Pick<JsonLines, "lines">, path: string): void {
  const wrong = lines.findIndex((line) => {
    const { task, id } = (line ?? {}) as Partial<EvalRecord>;
    return typeof task !== "string" || typeof id !== "string";
  });
  if (wrong < 0) return;
  const what = `line ${wrong + 1} names no task and question, wanted what chimera eval wrote`;
  throw new EvaluationError("damaged", `Cannot read "${shown(path)}": ${what}`);
}

function asText(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

async function refuseStrangers(folder: string, store: OutputStore): Promise<void> {
  if (fileExists(join(folder, CONFIG))) return;
  const names = [...(await store.list()).map(({ name }) => name), ...(await store.strangers())];
  const stranger = names.find((name) => !OURS.has(name) && !name.endsWith(".tmp"));
  if (stranger === undefined) return;
  throw new EvaluationError(
    "other-run",
    `Cannot evaluate into "${shown(folder)}": it holds "${shown(stranger)}" and no ${CONFIG}, wanted a new folder or a run's`,
  );
}

/** Of the run in a folder, which is that of `wanted`; undefined where there is none yet. */
async function heldConfig(folder: string, wanted: RunConfig): Promise<RunConfig | undefined> {
  const held = await readConfig(folder);
  if (held && held.digest !== wanted.digest) throw otherRun(folder, held, wanted);
  return held;
}

/** That a folder holds a run of other settings, and which. */
export function otherRun(folder: string, held: RunConfig, wanted: RunConfig): EvaluationError {
  const [first, ...more] = settingsDifferences(held.settings, wanted.settings);
  const what = [first ?? "other settings", ...more].join("; ");
  return new EvaluationError(
    "other-run",
    `Cannot evaluate into "${shown(folder)}": it holds another run: ${what}`,
    { note: "A run never changes; choose another folder with --out" },
  );
}

/** What goes wrong with the folder is told in the words of a build. */
function asEvaluationError(error: unknown): unknown {
  if (!(error instanceof BuildError)) return error;
  const { code, message, note } = error;
  const said = message.replace(/^Cannot build in/, "Cannot evaluate into");
  return new EvaluationError(code, said, note === undefined ? {} : { note });
}
