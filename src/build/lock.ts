/**
 * One build at a time in a folder; parts of one build may run side by side when they share no shard.
 *
 * A lock is a file made with "must not exist". Its owner is known by host, process and the process's start
 * time, so that a lock left by a killed build is recognised and taken over, also when its process number
 * was given to another since. A lock of another host counts as alive: it cannot be asked.
 */
import { hostname } from "node:os";
import { BuildError } from "../base/errors.ts";
import { processStart } from "../checkpoint/node.ts";
import type { OutputStore } from "../checkpoint/source.ts";
import { STATE_FOLDER } from "./state.ts";

export interface Lock {
  release(): Promise<void>;
}

interface Owner {
  host: string;
  pid: number;
  /** Start time of the process in clock ticks since boot, and the boot's id; "" where unknown. */
  started: string;
  token: string;
  /** First shard and the one after the last, as indices into the plan. */
  from: number;
  to: number;
}

const PREFIX = `${STATE_FOLDER}/lock-`;

/** Takes the lock for shards from..to of a build. Throws BuildError "locked" when another build has any. */
export async function acquireLock(target: OutputStore, range: { from: number; to: number }): Promise<Lock> {
  const token = `${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
  const owner: Owner = { host: hostname(), pid: process.pid, started: processStart(process.pid), token, ...range };
  const name = `${PREFIX}${String(range.from).padStart(6, "0")}-${String(range.to).padStart(6, "0")}.json`;
  const text = `${JSON.stringify(owner)}\n`;
  for (let attempt = 0; !(await target.claim(name, text)); attempt++) {
    const other = await readOwner(target, name);
    if (other && (attempt > 3 || isAlive(other))) throw locked(target, other);
    // Its owner is dead. Two who find that out at once may both remove it; the claim decides.
    await target.remove(name);
  }
  const release = async () => {
    if ((await readOwner(target, name))?.token === token) await target.remove(name);
  };
  // Others may hold locks over overlapping ranges under other names.
  for (const entry of await target.listUnder(PREFIX)) {
    if (entry.name === name) continue;
    const other = await readOwner(target, entry.name);
    if (!other || other.to <= range.from || range.to <= other.from) continue;
    if (isAlive(other)) {
      await release();
      throw locked(target, other);
    }
    await target.remove(entry.name);
  }
  if ((await readOwner(target, name))?.token !== token) throw locked(target, await readOwner(target, name));
  return { release };
}

async function readOwner(target: OutputStore, name: string): Promise<Owner | undefined> {
  const bytes = await target.readSmall(name);
  if (!bytes) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Owner;
  } catch {
    return undefined; // cut off by a crash of the machine: nobody's
  }
}

function isAlive({ host, pid, started }: Owner): boolean {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const now = processStart(pid);
  return started === "" || now === "" || now === started;
}

function locked(target: OutputStore, owner: Owner | undefined): BuildError {
  const who = owner ? `process ${owner.pid} on ${owner.host}` : "another process";
  return new BuildError("locked", `Cannot build in "${target.location}": ${who} is building there`, {
    note: `Wait for it to end. If that machine is gone, remove ${target.location}/${STATE_FOLDER}/lock-*`,
  });
}
