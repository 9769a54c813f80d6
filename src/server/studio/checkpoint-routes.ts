/** What is served, as the studio shows it: checkpoints from their headers, and how two of them differ. */
import { Hono } from "hono";
import { z } from "zod";
import { folderFingerprint } from "../../checkpoint/fingerprint.ts";
import { openStore } from "../../checkpoint/stores.ts";
import { type CompareReport, compare } from "../../survey/compare.ts";
import { inspect } from "../../survey/inspect.ts";
import { selectRows, tensorRows } from "../../survey/tensor-rows.ts";
import type { CheckpointEntry, FileNames, InspectReport, TensorPage, TensorRow } from "../api.ts";
import { ApiError, apiErrorOf, unexpected } from "../api-error.ts";
import type { RouteEnvironment } from "../app.ts";
import { parseBody, readJson } from "../request-body.ts";
import type { ServedModel } from "../served-model.ts";
import { EventStream } from "../stream.ts";
import type { StudioContext } from "./context.ts";
import { recipeOf } from "./places.ts";
import { Recent } from "./recent.ts";

/** Text files that are shown; whatever else lies in a folder is not given out. */
const SHOWN_FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer_config.json",
  "chat_template.jinja",
  "chimera.json",
  "README.md",
];
const SHOWN_BYTES = 20_000_000;
const MOST_ROWS = 1000;

const CompareBody = z.strictObject({
  base: z.string(),
  other: z.string(),
  sample: z.int().min(1).max(1_000_000).optional(),
});

export function checkpointRoutes(context: StudioContext): Hono<RouteEnvironment> {
  const { places, serving } = context;
  const app = new Hono<RouteEnvironment>();
  /** By folder; a checkpoint of 92,000 tensors takes a second to open. */
  const inspected = new Recent<Promise<InspectReport>>(32);
  const tensors = new Recent<Promise<TensorRow[]>>(4);
  const compared = new Recent<CompareReport>(4);
  const keep = async <T>(store: Recent<Promise<T>>, folder: string, make: () => Promise<T>): Promise<T> => {
    const key = `${folder} ${await stampOf(folder)}`;
    const promise = store.get(key) ?? make();
    store.set(key, promise);
    return promise.catch((error) => {
      store.delete(key);
      throw error;
    });
  };

  const inspectionOf = async (id: string): Promise<InspectReport> => {
    const folder = places.folderOf(id);
    return keep(inspected, folder, () => inspect(folder));
  };

  app.get("/checkpoints", async ({ json }) => json(await Promise.all(serving.models.list().map(entryOf))));
  app.get("/checkpoints/:id", async ({ req, json }) => {
    return json<InspectReport>(await inspectionOf(req.param("id")));
  });
  app.get("/checkpoints/:id/tensors", async ({ req, json }) => {
    const folder = places.folderOf(req.param("id"));
    const rows = await keep(tensors, folder, () => tensorRows(folder));
    const wanted = selectRows(rows, req.query());
    const { offset, limit } = pageOf(req.query());
    return json<TensorPage>({ total: wanted.length, rows: wanted.slice(offset, offset + limit) });
  });
  app.get("/checkpoints/:id/files", async ({ req, json }) => {
    const names = new Set((await openStore(places.folderOf(req.param("id"))).list()).map(({ name }) => name));
    return json<FileNames>(SHOWN_FILES.filter((name) => names.has(name)));
  });
  app.get("/checkpoints/:id/files/:name", async ({ req, text }) => {
    const name = req.param("name");
    const folder = places.folderOf(req.param("id"));
    const bytes =
      SHOWN_FILES.includes(name) && places.liesWithin(folder, name)
        ? await openStore(folder).readSmall(name, SHOWN_BYTES)
        : undefined;
    if (!bytes)
      throw new ApiError(404, `There is no file "${name.slice(0, 100)}" to show`, { code: "not_found" });
    return text(new TextDecoder().decode(bytes));
  });
  app.post("/compare", async ({ req }) => {
    const { base, other, sample } = parseBody(CompareBody, await readJson(req.raw));
    const folders = [places.folderOf(base), places.folderOf(other)] as const;
    const stamps = await Promise.all(folders.map(stampOf));
    const key = [...folders, ...stamps, sample].join(" ");
    const stream = new EventStream();
    const send = (step: object) => stream.send(JSON.stringify(step));
    void (async () => {
      try {
        const report =
          compared.get(key) ??
          (await compare(...folders, {
            signal: stream.signal,
            onEvent: send,
            ...(sample ? { sample } : {}),
          }));
        compared.set(key, report);
        send({ kind: "report", report });
      } catch (error) {
        const told = apiErrorOf(error);
        if (!told) serving.log.error("comparison failed", { error: String((error as Error).stack ?? error) });
        send({ kind: "error", ...(told ?? unexpected()).body });
      } finally {
        stream.end();
      }
    })();
    return stream.response;
  });
  return app;

  async function entryOf({ source, state }: ServedModel): Promise<CheckpointEntry> {
    const { id, kind } = source;
    const place = typeof source.source === "string" ? places.shortOf(source.source) : "made here";
    const entry: CheckpointEntry = { id, kind, state, place };
    if (kind === "child") {
      const recipe = await recipeOf(source);
      const text = recipe
        ? places.portable(recipe)
        : typeof source.source === "string"
          ? undefined
          : source.source.recipe;
      return {
        ...entry,
        ...(text === undefined ? {} : { recipe: text }),
        ...(source.isMadeHere ? { madeHere: true } : {}),
      };
    }
    // Its folder may be gone, which is nothing to the others.
    const report = await inspectionOf(id).catch(() => undefined);
    if (!report) return entry;
    const { totals, architecture } = report;
    return {
      ...entry,
      bytes: totals.bytes,
      tensors: totals.tensors,
      parameters: totals.elements,
      architecture: architecture.label,
    };
  }
}

/** Changes when the folder does. */
async function stampOf(folder: string): Promise<string> {
  return folderFingerprint(folder, { wholeBytes: 0, headerBytes: 0 });
}

/** Of a list that is asked for in pages. */
export function pageOf({ offset, limit }: Record<string, string>): { offset: number; limit: number } {
  const number = (text: string | undefined, usual: number, most: number) => {
    const value = Number(text ?? usual);
    return Number.isInteger(value) && value >= 0 ? Math.min(value, most) : usual;
  };
  return { offset: number(offset, 0, 1e9), limit: number(limit, 200, MOST_ROWS) };
}
