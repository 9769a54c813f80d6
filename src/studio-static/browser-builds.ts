/**
 * Builds in the page's memory, told as a server tells its own. One that is paused begins again: what is half built in a
 * memory is not worth keeping. A child that is complete is kept in the browser's storage where there is one.
 */
import type { RecipeText } from "../browser/engine-api.ts";
import type { EngineClient } from "../browser/engine-client.ts";
import type { BuildState } from "../server/api.ts";
import { EngineError } from "../studio/engine.ts";

interface Build {
  state: BuildState;
  source: RecipeText;
  controller: AbortController | undefined;
  running: Promise<void>;
  listeners: Set<(state: BuildState) => void>;
}

export class BrowserBuilds {
  readonly #client: EngineClient;
  readonly #sourceOf: (recipe: string) => Promise<RecipeText>;
  readonly #builds: Build[] = [];

  constructor(client: EngineClient, sourceOf: (recipe: string) => Promise<RecipeText>) {
    this.#client = client;
    this.#sourceOf = sourceOf;
  }

  list(): BuildState[] {
    return this.#builds.map(({ state }) => ({ ...state })).reverse();
  }

  async start(name: string, recipe: string): Promise<BuildState> {
    const source = await this.#sourceOf(recipe);
    const plan = await this.#client.request("planSummary", source);
    const state: BuildState = {
      ...{
        id: `build-${this.#builds.length + 1}`,
        name,
        state: "running",
        seconds: 0,
        planDigest: plan.digest,
      },
      ...{ bytesDone: 0, bytesTotal: plan.writeBytes, shardsDone: 0, shardsTotal: plan.shards },
    };
    const build: Build = {
      state,
      source,
      controller: undefined,
      running: Promise.resolve(),
      listeners: new Set(),
    };
    this.#builds.push(build);
    this.#go(build);
    return { ...state };
  }

  watch(
    id: string,
    { onState, signal }: { onState: (state: BuildState) => void; signal: AbortSignal },
  ): Promise<void> {
    const { state, listeners } = this.#get(id);
    return new Promise((resolve) => {
      const tell = (now: BuildState) => {
        onState({ ...now });
        if (now.state !== "done" && now.state !== "failed") return;
        listeners.delete(tell);
        resolve();
      };
      listeners.add(tell);
      signal.addEventListener("abort", () => {
        listeners.delete(tell);
        resolve();
      });
      tell(state);
    });
  }

  async pause(id: string): Promise<BuildState> {
    const build = this.#get(id);
    if (build.state.state === "running") {
      build.controller?.abort();
      this.#change(build, { state: "pausing" });
    }
    return { ...build.state };
  }

  async resume(id: string): Promise<BuildState> {
    const build = this.#get(id);
    await build.running;
    if (build.state.state === "paused" || build.state.state === "failed") this.#go(build);
    return { ...build.state };
  }

  async remove(id: string): Promise<BuildState> {
    const build = this.#get(id);
    build.controller?.abort();
    await build.running;
    this.#builds.splice(this.#builds.indexOf(build), 1);
    return { ...build.state };
  }

  #get(id: string): Build {
    const build = this.#builds.find(({ state }) => state.id === id);
    if (build) return build;
    throw new EngineError({
      message: `There is no build "${id}"`,
      type: "invalid_request_error",
      param: null,
      code: "not_found",
    });
  }

  #change(build: Build, changes: Partial<BuildState>): void {
    Object.assign(build.state, changes);
    for (const listener of [...build.listeners]) listener(build.state);
  }

  #go(build: Build): void {
    build.controller = new AbortController();
    delete build.state.error;
    this.#change(build, { state: "running", bytesDone: 0, shardsDone: 0 });
    build.running = this.#run(build, build.controller.signal);
  }

  async #run(build: Build, signal: AbortSignal): Promise<void> {
    const startedAt = performance.now();
    const seconds = () => (performance.now() - startedAt) / 1000;
    const location = `/children/${build.state.name}`;
    try {
      await this.#client.request(
        "build",
        { ...build.source, location },
        {
          signal,
          onEvent: (step) => {
            if (step.kind !== "build" || step.event.kind !== "progress") return;
            const { bytesDone, bytesTotal, shardsDone, shardsTotal } = step.event;
            this.#change(build, { bytesDone, bytesTotal, shardsDone, shardsTotal, seconds: seconds() });
          },
        },
      );
      await this.#client.request("keep", { location }).catch(() => undefined); // no storage: it goes with the page
      const { bytesTotal, shardsTotal } = build.state;
      this.#change(build, {
        state: "done",
        bytesDone: bytesTotal,
        shardsDone: shardsTotal,
        seconds: seconds(),
      });
    } catch (error) {
      if (signal.aborted) this.#change(build, { state: "paused", seconds: seconds() });
      else {
        const { message, code } = error as Error & { code?: string };
        const told = { message, type: "server_error", param: null, code: code ?? null };
        this.#change(build, { state: "failed", error: told, seconds: seconds() });
      }
    }
  }
}
