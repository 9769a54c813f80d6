/** What the studio's routes share. */
import type { Serving } from "../serving.ts";
import type { Builds } from "./builds.ts";
import type { Places } from "./places.ts";
import type { Runs } from "./runs.ts";

export interface StudioContext {
  serving: Serving;
  places: Places;
  builds: Builds | undefined;
  runs: Runs | undefined;
}
