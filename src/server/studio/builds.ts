/**
 * Builds that the studio starts: one after the other's wish, each with its progress for whoever looks. A build that is
 * paused is a build that was interrupted: its whole shards stay, and it goes on from them.
 */
import { join } from "node:path";
import { Interrupted } from "../../base/errors.ts";
import { build } from "../../build/build.ts";
import { inspectTarget, removeOurs } from "../../build/target-folder.ts";
import { openOutput } from "../../checkpoint/stores.ts";
import type { BuildPlan } from "../../plan/plan.ts";
import type { BuildState } from "../api.ts";
import { ApiError, apiErrorOf, unexpected } from "../api-error.ts";

/** Of children, and of what is made here: a folder's name, and a model's. */
export const CHILD_NAME: RegExp = /^[A-Za-z0-9][\w.-]{0,99}$/;
/** Bytes a second where nothing was built yet: a disk that writes 0.4 GB/s. */
export const USUAL_SPEED = 0.4e9;
const MOST_KEPT = 100;

interface Build {
  plan: BuildPlan;
  location: string;
  state: BuildState;
  controller: AbortController | undefined;
  listeners: Set<BuildListener>;
  startedAt: number;
  secondsBefore: number;
  running: Promise<void>;
  /** It is being removed: nothing may begin it again. */
  removing: Promise<BuildState> | undefined;
}

/** Told each state; undefined when the build is removed. */
export type BuildListener = (state: BuildState | undefined) => void;

export class Builds {
  readonly #folder: string;
  readonly #onBuilt: (name: string, location: string) => void;
  readonly #builds = new Map<string, Build>();
  #speed = USUAL_SPEED;
  #numBuilds = 0;
  #isClosed = false;

  constructor(folder: string, onBuilt: (name: string, location: string) => void) {
    this.#folder = folder;
    this.#onBuilt = onBuilt;
  }

  get folder(): string {
    return this.#folder;
  }

  /** Bytes a second that the last build has reached. */
  get speed(): number {
    return this.#speed;
  }

  freeBytes(): Promise<number | undefined> {
    return openOutput(this.#folder).freeBytes();
  }

  list(): BuildState[] {
    return [...this.#builds.values()].reverse().map((one) => this.#stateOf(one));
  }

  state(id: string): BuildState {
    return this.#stateOf(this.#get(id));
  }

  start(plan: BuildPlan, name: string): BuildState {
    const location = join(this.#folder, name);
    const other = [...this.#builds.values()].find(
      ({ location: at, state: { state }, removing }) =>
        at === location && (removing || (state !== "failed" && state !== "done")),
    );
    if (other)
      throw new ApiError(409, `Cannot build "${name}": a build of this name is ${other.state.state}`, {
        param: "name",
        code: "name_taken",
      });
    const id = `build-${Date.now().toString(36)}${(this.#numBuilds++).toString(36)}`;
    const state: BuildState = {
      ...{ id, name, state: "running", seconds: 0, planDigest: plan.digest },
      ...{ bytesDone: 0, bytesTotal: plan.totals.writeBytes, shardsDone: 0, shardsTotal: plan.shards.length },
    };
    const one: Build = {
      ...{ plan, location, state, controller: undefined, listeners: new Set() },
      ...{ startedAt: 0, secondsBefore: 0, running: Promise.resolve(), removing: undefined },
    };
    this.#builds.set(id, one);
    for (const [old, { state: of }] of this.#builds) {
      if (this.#builds.size <= MOST_KEPT) break;
      if (of.state === "done" || of.state === "failed") this.#builds.delete(old);
    }
    this.#go(one);
    return this.#stateOf(one);
  }

  pause(id: string): BuildState {
    const one = this.#get(id);
    if (one.state.state === "running") {
      one.controller?.abort();
      this.#change(one, { state: "pausing" });
    }
    return this.#stateOf(one);
  }

  async resume(id: string): Promise<BuildState> {
    const one = this.#get(id);
    await (one.state.state === "pausing" ? one.running : undefined);
    if (one.state.state === "paused" || one.state.state === "failed") this.#go(one);
    return this.#stateOf(one);
  }

  /** Stops it and removes what of it is there; a child that is complete stays. */
  async remove(id: string): Promise<BuildState> {
    const one = this.#get(id);
    one.removing ??= this.#remove(id, one).catch((error) => {
      one.removing = undefined; // it stays in the list, and can be removed again
      throw error;
    });
    return one.removing;
  }

  async #remove(id: string, one: Build): Promise<BuildState> {
    one.controller?.abort();
    await one.running;
    if (one.state.state !== "done") {
      const target = openOutput(one.location);
      const found = await inspectTarget(target, one.plan, { force: true }).catch(() => undefined);
      if (found && !found.complete) await removeOurs(target, one.plan, found);
    }
    // Last: until then nobody may begin another of this name.
    this.#builds.delete(id);
    for (const listener of [...one.listeners]) listener(undefined);
    return this.#stateOf(one);
  }

  /** Calls `listener` whenever the state changes, until what it returns is called. */
  watch(id: string, listener: BuildListener): () => void {
    const { listeners } = this.#get(id);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  /** Pauses whatever runs: the state of each is saved. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#builds.values()];
    for (const one of all) one.controller?.abort();
    await Promise.all(all.map(({ running }) => running));
  }

  #get(id: string): Build {
    const one = this.#builds.get(id);
    if (!one) throw new ApiError(404, `There is no build "${id.slice(0, 100)}"`, { code: "not_found" });
    return one;
  }

  #stateOf({ state, controller, startedAt, secondsBefore }: Build): BuildState {
    const now = controller ? (performance.now() - startedAt) / 1000 : 0;
    return { ...state, seconds: secondsBefore + now };
  }

  #change(one: Build, changes: Partial<BuildState>): void {
    Object.assign(one.state, changes);
    for (const listener of [...one.listeners]) listener(this.#stateOf(one));
  }

  #go(one: Build): void {
    if (one.removing || this.#isClosed) return; // who has waited for its pause may come too late
    one.controller = new AbortController();
    one.startedAt = performance.now();
    delete one.state.error;
    this.#change(one, { state: "running" });
    one.running = this.#run(one, one.controller.signal);
  }

  async #run(one: Build, signal: AbortSignal): Promise<void> {
    let changes: Partial<BuildState>;
    try {
      const { writtenBytes, seconds, shards } = await build(one.plan, one.location, {
        signal,
        onEvent: (event) => {
          if (event.kind !== "progress") return;
          const { bytesDone, bytesTotal, shardsDone, shardsTotal } = event;
          this.#change(one, { bytesDone, bytesTotal, shardsDone, shardsTotal });
        },
      });
      if (writtenBytes > 1e6 && seconds > 0) this.#speed = writtenBytes / seconds;
      const { bytesTotal } = one.state;
      changes = { state: "done", bytesDone: bytesTotal, shardsDone: shards.total, shardsTotal: shards.total };
      this.#onBuilt(one.state.name, one.location);
    } catch (error) {
      if (error instanceof Interrupted) changes = { state: "paused" };
      else changes = { state: "failed", error: (apiErrorOf(error) ?? unexpected()).body.error };
    }
    one.secondsBefore += (performance.now() - one.startedAt) / 1000;
    one.controller = undefined;
    this.#change(one, changes);
  }
}
