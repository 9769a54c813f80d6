/** On what machine, and by what version of chimera, a run was made: for reports. */
import { cpus, release, type as systemType, totalmem } from "node:os";
import { fileExists, packageFile, readTextFile } from "../checkpoint/node.ts";
import type { MachineFacts } from "./run-config.ts";

export function machineFacts(): MachineFacts {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryBytes: totalmem(),
    system: `${systemType()} ${release()} ${process.arch}`,
    node: process.version,
  };
}

/** The commit of the checkout that chimera runs from; null where it is none. */
export async function commitOf(): Promise<string | null> {
  try {
    let git = packageFile(".git");
    if (!fileExists(git)) return null;
    const pointer = await readTextFile(git, 4096).catch(() => ""); // a worktree has a file
    const folder = /^gitdir: (.+)$/m.exec(pointer)?.[1];
    if (folder) git = folder;
    const head = (await readTextFile(`${git}/HEAD`, 4096)).trim();
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    if (!ref) return isCommit(head);
    const common = await readTextFile(`${git}/commondir`, 4096).then(
      (text) => `${git}/${text.trim()}`,
      () => git,
    );
    if (fileExists(`${common}/${ref}`))
      return isCommit((await readTextFile(`${common}/${ref}`, 4096)).trim());
    const packed = await readTextFile(`${common}/packed-refs`, 10_000_000);
    return isCommit(
      packed
        .split("\n")
        .find((line) => line.endsWith(` ${ref}`))
        ?.split(" ")[0] ?? "",
    );
  } catch {
    return null;
  }
}

function isCommit(text: string): string | null {
  return /^[0-9a-f]{40,64}$/.test(text) ? text : null;
}
