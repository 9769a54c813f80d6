/** Evaluations and studies that lie on the disk. */
import { Hono } from "hono";
import type { RecordPage, RunDetails, RunsList, StudyDetails } from "../api.ts";
import { ApiError } from "../api-error.ts";
import type { RouteEnvironment } from "../app.ts";
import { pageOf } from "./checkpoint-routes.ts";
import type { StudioContext } from "./context.ts";
import { type Runs, selects } from "./runs.ts";

const TYPES: Record<string, string> = {
  svg: "image/svg+xml",
  html: "text/html",
  csv: "text/csv",
  yaml: "text/yaml",
};

export function runRoutes({ runs }: StudioContext): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>();
  const there = (): Runs => {
    if (runs) return runs;
    throw new ApiError(404, "No folder of runs was named (--runs FOLDER)", { code: "no_runs" });
  };
  app.get("/runs", async ({ json }) => json<RunsList>((await runs?.list()) ?? { runs: [], studies: [] }));
  app.get("/runs/:id", async ({ req, json }) => {
    const { run, entry } = await there().read(req.param("id"));
    const each = (read: (record: (typeof run.records)[number]) => string) =>
      [...new Set(run.records.map(read))].sort();
    return json<RunDetails>({
      entry,
      config: run.config,
      topics: each(({ topic }) => topic),
      tasks: each(({ task }) => task),
    });
  });
  app.get("/runs/:id/records", async ({ req, json }) => {
    const { run } = await there().read(req.param("id"));
    const wanted = run.records.filter((record) => selects(record, req.query()));
    const { offset, limit } = pageOf({ limit: "50", ...req.query() });
    return json<RecordPage>({ total: wanted.length, records: wanted.slice(offset, offset + limit) });
  });
  app.get("/studies/:id", async ({ req, json }) => json<StudyDetails>(await there().study(req.param("id"))));
  app.get("/studies/:id/files/:name", async ({ req, body }) => {
    const name = req.param("name");
    const text = await there().studyFile(req.param("id"), name);
    const type = TYPES[name.split(".").at(-1)!] ?? "text/plain";
    // A report is somebody's file: nothing in it may run, or ask this server for anything.
    const policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";
    return body(text, 200, { "content-type": `${type}; charset=utf-8`, "content-security-policy": policy });
  });
  return app;
}
