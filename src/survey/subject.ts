/** What findings are made about: a checkpoint as an inspector sees it. */
import type { Architecture } from "../arch/architecture.ts";
import type { Checkpoint } from "../checkpoint/checkpoint.ts";
import type { Expected, ListedTensor } from "./inventory.ts";
import type { SideFiles } from "./side-files.ts";

/** "index": every shard that the index names is absent. */
export type Opened = "folder" | "file" | "index";

export interface Subject {
  checkpoint: Checkpoint;
  arch: Architecture;
  inventory: readonly ListedTensor[];
  expected: Expected | undefined;
  sideFiles: SideFiles;
  opened: Opened;
  /** One file of several: what it lacks may lie in the others. */
  isPart: boolean;
}
