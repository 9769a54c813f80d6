/** Where benchmarks write: a disk and a tmpfs, with folders of their own that are gone when the process ends. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TMPFS = 0x01021994;
const SHM = "/dev/shm";

export interface Place {
  /** For the table: "disk" or "tmpfs". */
  kind: "disk" | "tmpfs";
  folder: string;
}

const workspaces: string[] = [];

export function removeWorkspaces(): void {
  for (const folder of workspaces.splice(0)) rmSync(folder, { recursive: true, force: true });
}

/** An empty folder in memory, or on disk where there is no tmpfs of `bytes` free bytes. */
export function memoryPlace(bytes: number): Place {
  if (existsSync(SHM) && isTmpfs(SHM) && freeBytes(SHM) > bytes)
    return { kind: "tmpfs", folder: workspace(SHM) };
  return diskPlace();
}

/** An empty folder on disk. */
export function diskPlace(): Place {
  const parent = process.env.CHIMERA_BENCH_DISK ?? tmpdir();
  return { kind: isTmpfs(parent) ? "tmpfs" : "disk", folder: workspace(parent) };
}

function workspace(parent: string): string {
  const folder = mkdtempSync(join(parent, "chimera-bench-"));
  workspaces.push(folder);
  return folder;
}

export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

export function freeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

function isTmpfs(folder: string): boolean {
  return statfsSync(folder).type === TMPFS;
}

/** Waits until what was written is on the disk. */
export function sync(): void {
  execFileSync("sync");
}

let coldPossible: boolean | undefined;

/** Empties the page cache; false where only root may and we are not. */
export function dropCaches(): boolean {
  if (coldPossible === false) return false;
  try {
    sync();
    writeFileSync("/proc/sys/vm/drop_caches", "3");
    coldPossible = true;
  } catch {
    coldPossible = false;
  }
  return coldPossible;
}
