/**
 * Runs and studies below the folders that were named, found anew whenever the list is asked for. Clients know them by
 * ids that are no paths.
 */
import { createHash } from "node:crypto";
import { basename, dirname, join, relative } from "node:path";
import {
  folderExists,
  isRegularFile,
  listFolder,
  readRegularFile,
  realLocation,
} from "../../checkpoint/node.ts";
import { type FinishedRun, isRunFolder, readRun, readRunHead } from "../../eval/run-folder.ts";
import type { EvalRecord, RunEntry, RunsList, StudyDetails, StudyEntry, StudyPoint } from "../api.ts";
import { ApiError } from "../api-error.ts";

const STUDIES = { "sweep.json": "sweep", "search.json": "search", "ablation.json": "ablation" } as const;
/** What is given out of a study's folder. */
const STUDY_FILE = /^[\w.-]+\.(svg|html|csv|yaml)$/;
const DEEPEST = 4;
const MOST_RUNS = 5000;
const MOST_BYTES = 200_000_000;

interface Found {
  id: string;
  folder: string;
  root: string;
}

export class Runs {
  readonly #roots: readonly string[];
  #runs = new Map<string, Found>();
  #studies = new Map<string, Found & { file: keyof typeof STUDIES }>();

  constructor(folders: readonly string[]) {
    this.#roots = folders.map(realLocation);
  }

  async list(): Promise<RunsList> {
    this.#search();
    const runs = await Promise.all([...this.#runs.values()].map((found) => this.#entryOf(found)));
    return {
      runs: runs.filter((entry) => entry !== undefined).sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1)),
      studies: [...this.#studies.values()].map((found) => this.#studyOf(found)),
    };
  }

  /** A run with its records. Throws ApiError 404. */
  async read(id: string): Promise<{ run: FinishedRun; entry: RunEntry }> {
    const found = this.#found(() => this.#runs, id, "run");
    const run = await readRun(found.folder);
    return { run, entry: this.#describe(found, run) };
  }

  async study(id: string): Promise<StudyDetails> {
    const found = this.#found(() => this.#studies, id, "study");
    const bytes = await readRegularFile(join(found.folder, found.file), MOST_BYTES);
    try {
      return this.#detailsOf(found, JSON.parse(new TextDecoder().decode(bytes)) as SavedStudy);
    } catch (error) {
      const what = `it is not as it was written (${(error as Error).message})`;
      throw new ApiError(400, `Cannot read "${found.file}" of the study: ${what}`, { code: "damaged" });
    }
  }

  #detailsOf(found: Found & { file: keyof typeof STUDIES }, told: SavedStudy): StudyDetails {
    const point = ({ name, curve, x, run, summary }: SavedPoint): StudyPoint => ({
      ...{ name, run: idOf(dirname(realLocation(join(found.folder, decodeURIComponent(run))))), summary },
      ...(curve === undefined ? {} : { curve }),
      ...(x === undefined ? {} : { x }),
    });
    const [search] = told.results ?? [];
    const axis = told.axes?.lambda?.[0]?.parent;
    const points =
      told.points ??
      told.ablations ??
      search?.trials?.map((trial, index) => ({ ...trial, name: `child ${index + 1}` })) ??
      [];
    return {
      entry: this.#studyOf(found),
      points: points.map(point),
      parents: [...(told.child ? [told.child] : []), ...(told.parents ?? [])].map(point),
      ...(axis === undefined ? {} : { axis }),
      ...(search?.front ? { front: search.front } : {}),
    };
  }

  /** A plot or the report of a study. Throws ApiError 404. */
  async studyFile(id: string, name: string): Promise<string> {
    const { folder } = this.#found(() => this.#studies, id, "study");
    if (!STUDY_FILE.test(name) || !isRegularFile(join(folder, name)))
      throw new ApiError(404, `The study has no file "${name.slice(0, 100)}"`, { code: "not_found" });
    const path = join(folder, name);
    if (dirname(realLocation(path)) !== folder)
      throw new ApiError(404, "The file is a link to elsewhere", { code: "not_found" });
    return new TextDecoder().decode(await readRegularFile(path, MOST_BYTES));
  }

  /** Looks at the disk again for what is not known. */
  #found<T>(all: () => ReadonlyMap<string, T>, id: string, what: string): T {
    if (!all().has(id)) this.#search();
    const found = all().get(id);
    if (found !== undefined) return found;
    throw new ApiError(404, `There is no ${what} "${id.slice(0, 100)}"`, { code: "not_found" });
  }

  #search(): void {
    this.#runs = new Map();
    this.#studies = new Map();
    for (const root of this.#roots) this.#searchIn(root, root, 0);
  }

  #searchIn(folder: string, root: string, depth: number): void {
    if (this.#runs.size >= MOST_RUNS) return;
    const id = idOf(folder);
    if (isRunFolder(folder)) {
      this.#runs.set(id, { id, folder, root });
      return;
    }
    for (const file of Object.keys(STUDIES) as (keyof typeof STUDIES)[])
      if (isRegularFile(join(folder, file))) this.#studies.set(id, { id, folder, root, file });
    if (depth >= DEEPEST) return;
    for (const name of namesIn(folder)) {
      const inner = join(folder, name);
      // A link may lead anywhere.
      if (folderExists(inner) && realLocation(inner) === inner) this.#searchIn(inner, root, depth + 1);
    }
  }

  /** undefined: what lies there is damaged, or has gone. */
  async #entryOf(found: Found): Promise<RunEntry | undefined> {
    const run = await readRunHead(found.folder).catch(() => undefined);
    return run && this.#describe(found, run);
  }

  #describe(
    { id, folder, root }: Found,
    { config, summary }: Pick<FinishedRun, "config" | "summary">,
  ): RunEntry {
    const study =
      basename(dirname(folder)) === "runs" ? this.#studies.get(idOf(dirname(dirname(folder)))) : undefined;
    return {
      ...{ id, name: String(config.name), place: join(basename(root), relative(root, folder)) },
      ...{ complete: summary?.complete ?? false, summary: summary ?? null },
      startedAt: String(config.startedAt ?? ""),
      ...(study ? { study: study.id } : {}),
    };
  }

  #studyOf({ id, folder, root, file }: Found & { file: keyof typeof STUDIES }): StudyEntry {
    const files = namesIn(folder).filter((name) => STUDY_FILE.test(name));
    return { id, kind: STUDIES[file], place: join(basename(root), relative(root, folder)), files };
  }
}

/** None of a folder that cannot be read, or is gone by now: the others are listed all the same. */
function namesIn(folder: string): string[] {
  try {
    return listFolder(folder);
  } catch {
    return [];
  }
}

interface SavedPoint {
  name: string;
  curve?: string;
  x?: number;
  run: string;
  summary: StudyPoint["summary"];
}

/** Of what sweep, search and ablate write, what is looked at. */
interface SavedStudy {
  axes?: { lambda?: { parent: string }[] };
  points?: SavedPoint[];
  parents?: SavedPoint[];
  ablations?: SavedPoint[];
  child?: SavedPoint;
  results?: { trials?: SavedPoint[]; front?: number[] }[];
}

function idOf(folder: string): string {
  return createHash("sha256").update(folder).digest("hex").slice(0, 16);
}

/** Which records are wanted. */
export function selects(
  record: EvalRecord,
  { task, topic, only }: Record<string, string | undefined>,
): boolean {
  if (task && record.task !== task) return false;
  if (topic && record.topic !== topic) return false;
  if (only === "right") return record.correct === true;
  if (only === "wrong") return record.correct === false;
  if (only === "refused") return record.refused;
  return only !== "thinking" || record.opensThinking;
}
