/** How many runs of a sweep or an evaluation are complete, from what lies in its folder. */
import { join } from "node:path";
import { folderExists, listFolder } from "../checkpoint/node.ts";
import { isRunFolder, readRunHead } from "../eval/run-folder.ts";

/** Runs lie in `runs/` of a sweep, in the folder itself of an evaluation of several targets, or it is one. */
export async function completeRuns(folder: string): Promise<number> {
  if (!folderExists(folder)) return 0;
  if (isRunFolder(folder)) return (await isComplete(folder)) ? 1 : 0;
  const runs = join(folder, "runs");
  const within = folderExists(runs) ? runs : folder;
  let done = 0;
  for (const name of listFolder(within)) {
    const path = join(within, name);
    if (folderExists(path) && isRunFolder(path) && (await isComplete(path))) done++;
  }
  return done;
}

async function isComplete(folder: string): Promise<boolean> {
  return (await readRunHead(folder)).summary?.complete === true;
}
