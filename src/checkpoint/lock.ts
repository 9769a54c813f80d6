/**
 * One writer at a time in a folder: a build, an evaluation. Parts of one build may run side by side when they share no shard.
 *
 * A lock is a file made with "must not exist". Its owner is known by host, process and the process's start
 * time, so that a lock left by a killed build is recognised and taken over, also when its process number
 * was given to another since. A lock of another host counts as alive: it cannot be asked. Its scheduler can: where it
 * runs a task again, the task's earlier run is over. So an owner also says which task it is (CHIMERA_TASK, which the
 * scripts of `chimera launch` set), and a task takes over what it has left on another host itself.
 */
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { BuildError } from "../base/errors.ts";
import { processStart } from "./node.ts";
import { type OutputStore, STATE_FOLDER } from "./source.ts";
import { tidying } from "./stopping.ts";

export interface Lock {
  release(): Promise<void>;
}

interface Owner {
  host: string;
  pid: number;
  /** Start time of the process in clock ticks since boot, and the boot's id; "" where unknown. */
  started: string;
  token: string;
  /** Of a scheduler: which of its tasks this is, the same each time the task is run. */
  task?: string;
  /** First shard and the one after the last, as indices into the plan. */
  from: number;
  to: number;
}

/** Who is at work, for people. */
export interface LockOwner extends Owner {
  /** "elsewhere": on another host, which cannot be asked. */
  state: "alive" | "dead" | "elsewhere";
}

const TASK_VARIABLE = "CHIMERA_TASK";

const PREFIX = `${STATE_FOLDER}/lock-`;
/** Tries, and the time between two: for the one who is just removing a dead lock, or writing one. */
const MAX_ATTEMPTS = 20;
const WAIT_MS = 50;

/** What is done in the folder, for messages. */
interface Work {
  verb: string;
  doing: string;
}

const BUILDING: Work = { verb: "build", doing: "building" };

/** Takes the lock for shards from..to of a build. Throws BuildError "locked" when another process has any. */
export async function acquireLock(
  target: OutputStore,
  range: { from: number; to: number },
  work: Work = BUILDING,
): Promise<Lock> {
  if (range.from === range.to) return { release: async () => {} }; // no shard to fight for
  const token = `${process.pid}-${Math.random().toString(36).slice(2, 10)}`;
  const owner: Owner = {
    host: hostname(),
    pid: process.pid,
    started: processStart(process.pid),
    token,
    ...ownTask(),
    ...range,
  };
  const name = `${PREFIX}${String(range.from).padStart(6, "0")}-${String(range.to).padStart(6, "0")}.json`;
  const text = `${JSON.stringify(owner)}\n`;
  for (let attempt = 0; !(await target.claim(name, text)); attempt++) {
    const other = await readOwner(target, name);
    if (attempt === MAX_ATTEMPTS || (other && isAlive(other))) throw locked(target, other, work);
    if (other) await removeDead(target, name, { dead: other, text });
    else if (attempt > 2) await target.remove(name); // cut off by a crash of the machine: nobody's
    if (attempt > 0) await sleep(WAIT_MS);
  }
  const release = () =>
    tidying(async () => {
      if ((await readOwner(target, name))?.token === token) await target.remove(name);
    });
  try {
    // Others may hold locks over overlapping ranges under other names.
    for (const entry of await target.listUnder(PREFIX)) {
      if (entry.name === name) continue;
      const other = await readOwner(target, entry.name);
      if (!other || other.to <= range.from || range.to <= other.from) continue;
      if (isAlive(other)) throw locked(target, other, work);
      await removeDead(target, entry.name, { dead: other, text });
    }
  } catch (error) {
    await release();
    throw error;
  }
  return { release };
}

/**
 * Removes the lock of a dead owner. Of several that find it at once only the one that makes the marker may:
 * another might otherwise remove the lock that the first has taken since. A marker whose maker died as
 * well stops nobody.
 */
async function removeDead(
  target: OutputStore,
  name: string,
  { dead, text }: { dead: Owner; text: string },
): Promise<void> {
  const marker = `${STATE_FOLDER}/dead-${dead.token.replaceAll(/[^\w-]/g, "")}.json`;
  if (!(await target.claim(marker, text))) {
    const remover = await readOwner(target, marker);
    if (!remover || isAlive(remover)) return;
  }
  if ((await readOwner(target, name))?.token === dead.token) await target.remove(name);
}

async function readOwner(target: OutputStore, name: string): Promise<Owner | undefined> {
  const bytes = await target.readSmall(name);
  if (!bytes) return undefined;
  try {
    const owner = JSON.parse(new TextDecoder().decode(bytes)) as Owner;
    const isWhole = [owner.host, owner.started, owner.token].every((text) => typeof text === "string");
    return isWhole && [owner.pid, owner.from, owner.to].every(Number.isInteger) ? owner : undefined;
  } catch {
    return undefined;
  }
}

/** Everybody who holds a lock in a folder, or held one when they died. */
export async function readLocks(target: OutputStore): Promise<LockOwner[]> {
  const owners: LockOwner[] = [];
  for (const name of await lockNames(target)) {
    const owner = await readOwner(target, name);
    if (!owner) continue;
    const isHere = owner.host === hostname();
    owners.push({ ...owner, state: !isHere ? "elsewhere" : isAlive(owner) ? "alive" : "dead" });
  }
  return owners;
}

/** Locks that are held: one that is just being made has a temporary name. */
async function lockNames(target: OutputStore): Promise<string[]> {
  const entries = await target.listUnder(PREFIX);
  return entries.map(({ name }) => name).filter((name) => name.endsWith(".json"));
}

/** Removes the locks of tasks that their scheduler has given up for good. */
export async function removeTaskLocks(
  target: OutputStore,
  isOver: (task: string) => boolean,
): Promise<number> {
  let removed = 0;
  for (const name of await lockNames(target)) {
    const owner = await readOwner(target, name);
    if (owner?.task === undefined || !isOver(owner.task)) continue;
    await target.remove(name);
    removed++;
  }
  return removed;
}

function ownTask(): { task?: string } {
  const task = process.env[TASK_VARIABLE];
  return task ? { task } : {};
}

function isAlive({ host, pid, started, task }: Owner): boolean {
  if (host !== hostname()) return task === undefined || task !== ownTask().task;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return false;
  }
  const now = processStart(pid);
  return started === "" || now === "" || now === started;
}

function locked(target: OutputStore, owner: Owner | undefined, { verb, doing }: Work): BuildError {
  const who = owner ? `process ${owner.pid} on ${owner.host}` : "another process";
  return new BuildError("locked", `Cannot ${verb} in "${target.location}": ${who} is ${doing} there`, {
    note: `Wait for it to end. If that machine is gone, remove ${target.location}/${STATE_FOLDER}/lock-*`,
  });
}
