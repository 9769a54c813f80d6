/** Loading tasks from files that a test writes, and what is wrong with them in one line each. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { TaskError } from "../../src/base/errors.ts";
import type { Task } from "../../src/tasks/task.ts";
import { loadTasks } from "../../src/tasks/task-file.ts";
import { type Ends, temporaryFolder } from "../support/temporary-folder.ts";

/** A folder with these files. */
export function folderOf(ends: Ends, files: Record<string, string | Uint8Array>): string {
  const folder = temporaryFolder(ends);
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** The task of the first of these files. */
export async function loadOne(ends: Ends, files: Record<string, string | Uint8Array>): Promise<Task> {
  const folder = folderOf(ends, files);
  const tasks = await loadTasks([join(folder, Object.keys(files)[0]!)]);
  return tasks[0]!;
}

/** "file:line:column code" of every problem of the paths in a folder with these files; default: of its first file. */
export async function problemsOf(
  ends: Ends,
  files: Record<string, string | Uint8Array>,
  paths: readonly string[] = [Object.keys(files)[0]!],
): Promise<string[]> {
  const folder = folderOf(ends, files);
  try {
    await loadTasks(paths.map((path) => join(folder, path)));
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    return error.problems.map(({ code, file, line, column }) => {
      const place = file === undefined ? "" : `${file.replace(`${folder}/`, "")}:${line}:${column} `;
      return `${place}${code}`;
    });
  }
  return [];
}

/** The messages of the same. */
export async function messagesOf(ends: Ends, files: Record<string, string | Uint8Array>): Promise<string[]> {
  const folder = folderOf(ends, files);
  try {
    await loadTasks([join(folder, Object.keys(files)[0]!)]);
  } catch (error) {
    if (!(error instanceof TaskError)) throw error;
    return error.problems.flatMap(({ message, note }) => (note === undefined ? [message] : [message, note]));
  }
  return [];
}
