/** Everything below /api, for the studio and for whoever scripts it. */
import { join } from "node:path";
import { Hono } from "hono";
import { VERSION } from "../../base/version.ts";
import type { StudioInfo } from "../api.ts";
import type { RouteEnvironment } from "../app.ts";
import type { Serving } from "../serving.ts";
import { buildRoutes, NO_BUILDS } from "./build-routes.ts";
import { Builds } from "./builds.ts";
import { checkpointRoutes } from "./checkpoint-routes.ts";
import type { StudioContext } from "./context.ts";
import { Places, recipeOf } from "./places.ts";
import { recipeRoutes } from "./recipe-routes.ts";
import { runRoutes } from "./run-routes.ts";
import { Runs } from "./runs.ts";

export interface StudioOptions {
  /** Of the command line: what lies below may be named. */
  folders?: readonly string[];
  /** Where children are built; absent: nothing is. */
  children?: string | undefined;
  /** Where runs and studies lie. */
  runs?: readonly string[];
}

export interface Studio {
  routes: Hono<RouteEnvironment>;
  /** Pauses builds that are under way. */
  close: () => Promise<void>;
}

export async function createStudio(
  serving: Serving,
  { folders = [], children, runs = [] }: StudioOptions = {},
): Promise<Studio> {
  const places = new Places(serving.models, folders);
  for (const { source } of serving.models.list()) {
    const recipe = await recipeOf(source);
    if (recipe) places.know(recipe);
  }
  const onBuilt = (name: string, location: string) =>
    serving.models.replace({
      id: name,
      kind: "checkpoint",
      source: location,
      created: Math.floor(Date.now() / 1000),
    });
  const builds = children === undefined ? undefined : new Builds(children, onBuilt);
  const context: StudioContext = {
    serving,
    places,
    builds,
    runs: runs.length > 0 ? new Runs(runs) : undefined,
  };
  const app = new Hono<RouteEnvironment>();
  app.get("/studio", ({ json }) =>
    json<StudioInfo>({
      version: VERSION,
      builds: children === undefined ? null : places.shortOf(join(children, "x")).split("/")[0]!,
      ...(children === undefined ? { noBuilds: NO_BUILDS } : {}),
      hasRuns: runs.length > 0,
    }),
  );
  app.route("/", checkpointRoutes(context));
  app.route("/", recipeRoutes(context));
  app.route("/", buildRoutes(context));
  app.route("/", runRoutes(context));
  return { routes: app, close: async () => builds?.close() };
}
