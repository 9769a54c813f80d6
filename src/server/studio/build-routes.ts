/** Builds that the studio starts: their states, and what happens to them. */
import { Hono } from "hono";
import { z } from "zod";
import { planRecipe } from "../../plan/plan-recipe.ts";
import type { BuildState } from "../api.ts";
import { ApiError } from "../api-error.ts";
import type { RouteEnvironment } from "../app.ts";
import { parseBody, readJson } from "../request-body.ts";
import { EventStream } from "../stream.ts";
import { type BuildListener, type Builds, CHILD_NAME } from "./builds.ts";
import type { StudioContext } from "./context.ts";

const Request = z.strictObject({
  name: z.string().regex(CHILD_NAME, "wanted up to 100 letters, digits, _, . and -"),
  recipe: z.string().max(1_000_000),
});

export function buildRoutes({ builds, places, serving }: StudioContext): Hono<RouteEnvironment> {
  const app = new Hono<RouteEnvironment>();
  const there = (): Builds => {
    if (builds) return builds;
    throw new ApiError(409, NO_BUILDS, { code: "no_builds" });
  };
  app.get("/builds", ({ json }) => json<BuildState[]>(builds?.list() ?? []));
  app.post("/builds", async ({ req, json }) => {
    const { name, recipe: text } = parseBody(Request, await readJson(req.raw));
    const all = there();
    if (serving.models.has(name))
      throw new ApiError(409, `Cannot build "${name}": a model of this name is served`, {
        param: "name",
        code: "name_taken",
      });
    const { recipe, locations } = places.readRecipe(text);
    return json<BuildState>(all.start(await planRecipe(recipe, { locations }), name), 201);
  });
  app.get("/builds/:id", ({ req, json }) => json<BuildState>(there().state(req.param("id"))));
  app.post("/builds/:id/pause", ({ req, json }) => json<BuildState>(there().pause(req.param("id"))));
  app.post("/builds/:id/resume", async ({ req, json }) =>
    json<BuildState>(await there().resume(req.param("id"))),
  );
  app.delete("/builds/:id", async ({ req, json }) => json<BuildState>(await there().remove(req.param("id"))));
  app.get("/builds/:id/events", ({ req }) => {
    const all = there();
    const id = req.param("id");
    const stream = new EventStream();
    let stop = () => {};
    const tell: BuildListener = (state) => {
      if (state) stream.send(JSON.stringify(state));
      if (state && state.state !== "done" && state.state !== "failed") return;
      stop();
      stream.end();
    };
    stop = all.watch(id, tell);
    stream.signal.addEventListener("abort", stop, { once: true });
    tell(all.state(id));
    return stream.response;
  });
  return app;
}

export const NO_BUILDS = "Nothing can be built here: no folder for children was named (--children FOLDER)";
