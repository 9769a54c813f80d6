/**
 * The engine behind a server: JSON over fetch, events as streams of it. Where the server wants a key, `askForKey` is
 * called, and the request is sent again with what it gives; the key stays in the tab's sessionStorage.
 */
import type {
  BuildState,
  CheckpointEntry,
  CompareReport,
  CompareStep,
  ErrorBody,
  FileNames,
  InspectReport,
  Planning,
  RecipeReading,
  RecipeText,
  RecipeWords,
  RecordPage,
  RunDetails,
  RunsList,
  StudioInfo,
  StudyDetails,
  TensorPage,
} from "../server/api.ts";
import { answerOf } from "./chat-stream.ts";
import { EngineError, type StudioEngine } from "./engine.ts";
import { dataOf } from "./logic/sse.ts";

const KEY = "chimera-key";

export interface HttpEngineOptions {
  /** Gives the key, or undefined where the user has none. `isWrong`: one was sent. */
  askForKey: (isWrong: boolean) => Promise<string | undefined>;
  /** Where the server is. Default: where the page is from. */
  base?: string;
}

type Query = Record<string, string | number | undefined>;

export function createHttpEngine({ askForKey, base = "" }: HttpEngineOptions): StudioEngine {
  let asking: Promise<string | undefined> | undefined;

  /** Requests that fail at the same time ask the user once. */
  const newKey = (isWrong: boolean) => {
    asking ??= askForKey(isWrong).finally(() => {
      asking = undefined;
    });
    return asking;
  };

  async function send(path: string, init: RequestInit = {}): Promise<Response> {
    for (;;) {
      const key = sessionStorage.getItem(KEY);
      const headers = new Headers(init.headers);
      if (key) headers.set("authorization", `Bearer ${key}`);
      const response = await fetch(base + path, { ...init, headers }).catch((error) => {
        if (init.signal?.aborted) throw error;
        throw lost(path);
      });
      if (response.ok) return response;
      const details = await errorOf(response);
      if (response.status !== 401) throw new EngineError(details);
      const given =
        sessionStorage.getItem(KEY) === key ? await newKey(key !== null) : sessionStorage.getItem(KEY);
      if (!given) throw new EngineError(details);
      sessionStorage.setItem(KEY, given);
    }
  }

  const get = async <T>(path: string, query: Query = {}): Promise<T> =>
    (await send(path + searchOf(query))).json() as Promise<T>;
  const post = async <T>(path: string, body?: object, method = "POST"): Promise<T> =>
    (await send(path, bodyOf(body, method))).json() as Promise<T>;
  async function* events(path: string, init: RequestInit): AsyncGenerator<string> {
    const { body } = await send(path, init);
    if (body) yield* dataOf(body);
  }

  return {
    info: () => get<StudioInfo>("/api/studio"),
    checkpoints: () => get<CheckpointEntry[]>("/api/checkpoints"),
    inspect: (id) => get<InspectReport>(`/api/checkpoints/${segment(id)}`),
    tensors: (id, query) => get<TensorPage>(`/api/checkpoints/${segment(id)}/tensors`, { ...query }),
    fileNames: (id) => get<FileNames>(`/api/checkpoints/${segment(id)}/files`),
    fileText: async (id, name) =>
      (await send(`/api/checkpoints/${segment(id)}/files/${segment(name)}`)).text(),
    async compare(request, { onStep, signal }) {
      let report: CompareReport | undefined;
      for await (const data of events("/api/compare", { ...bodyOf(request), signal })) {
        const step = JSON.parse(data) as CompareStep;
        if (step.kind === "error") throw new EngineError(step.error);
        if (step.kind === "report") report = step.report;
        else onStep(step);
      }
      if (!report) throw lost("/api/compare");
      return report;
    },

    recipeWords: () => get<RecipeWords>("/api/recipe/words"),
    readRecipe: (recipe) => post<RecipeReading>("/api/recipe/read", { recipe }),
    writeRecipe: async (form) => (await post<RecipeText>("/api/recipe/write", form)).recipe,
    recipeTemplate: async (request) => (await post<RecipeText>("/api/recipe/template", request)).recipe,
    plan: (recipe) => post<Planning>("/api/plan", { recipe }),

    builds: () => get<BuildState[]>("/api/builds"),
    startBuild: (name, recipe) => post<BuildState>("/api/builds", { name, recipe }),
    async watchBuild(id, { onState, signal }) {
      for await (const data of events(`/api/builds/${segment(id)}/events`, { signal }))
        onState(JSON.parse(data) as BuildState);
    },
    pauseBuild: (id) => post<BuildState>(`/api/builds/${segment(id)}/pause`),
    resumeBuild: (id) => post<BuildState>(`/api/builds/${segment(id)}/resume`),
    removeBuild: (id) => post<BuildState>(`/api/builds/${segment(id)}`, undefined, "DELETE"),

    makeChild: (child) => post<CheckpointEntry>("/api/recipes", child),
    async removeChild(name) {
      await send(`/api/recipes/${segment(name)}`, { method: "DELETE" });
    },

    async chat({ model, messages, temperature, seed, maxTokens }, { onDelta, signal }) {
      const body = {
        ...{ model, messages, temperature, seed, max_tokens: maxTokens },
        ...{ stream: true, stream_options: { include_usage: true } },
      };
      return answerOf(events("/v1/chat/completions", { ...bodyOf(body), signal }), onDelta);
    },

    runs: () => get<RunsList>("/api/runs"),
    run: (id) => get<RunDetails>(`/api/runs/${segment(id)}`),
    records: (id, query) => get<RecordPage>(`/api/runs/${segment(id)}/records`, { ...query }),
    study: (id) => get<StudyDetails>(`/api/studies/${segment(id)}`),
    studyFile: async (id, name) => (await send(`/api/studies/${segment(id)}/files/${segment(name)}`)).blob(),
  };
}

function segment(text: string): string {
  return encodeURIComponent(text);
}

function searchOf(query: Query): string {
  const said = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return said.length === 0 ? "" : `?${new URLSearchParams(said.map(([key, value]) => [key, String(value)]))}`;
}

function bodyOf(body?: object, method = "POST"): RequestInit {
  if (body === undefined) return { method };
  return { method, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
}

async function errorOf(response: Response): Promise<ErrorBody["error"]> {
  const body = (await response.json().catch(() => undefined)) as Partial<ErrorBody> | undefined;
  if (body?.error) return body.error;
  const message = `The server answers with status ${response.status}`;
  return { message, type: "server_error", param: null, code: null };
}

function lost(path: string): EngineError {
  return new EngineError({
    message: `Cannot reach the server for ${path.split("?")[0]}`,
    ...{ type: "server_error", param: null, code: "unreachable" },
    note: "Whether it still runs is to be seen where it was started",
  });
}
