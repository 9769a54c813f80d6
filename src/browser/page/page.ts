/** The least page that talks to the engine: choose a checkpoint, ask, read. Tests find the client as `engine`. */
import { EngineClient } from "../engine-client.ts";

const element = <Kind extends HTMLElement>(id: string) => document.getElementById(id) as Kind;
const state = element("state");
const answer = element("answer");
const location = element<HTMLSelectElement>("location");
const question = element<HTMLInputElement>("question");

const engine = new EngineClient(new URL("assets/engine-worker.js", document.baseURI));
Object.assign(globalThis, { engine });

let loaded: { location: string; model: number } | undefined;

async function modelAt(place: string): Promise<number> {
  if (loaded?.location === place) return loaded.model;
  if (loaded) await engine.request("dispose", { model: loaded.model });
  const { model } = await engine.request("load", { location: place });
  loaded = { location: place, model };
  return model;
}

async function ask(): Promise<void> {
  answer.textContent = "";
  const model = await modelAt(location.value);
  const messages = [{ role: "user", content: question.value }];
  const onEvent = (event: { kind: string; text?: string }) => {
    if (event.kind === "reasoning" || event.kind === "content") answer.append(event.text ?? "");
  };
  const { stats } = await engine.request("generate", { model, messages, maxTokens: 300 }, { onEvent });
  state.textContent = `${stats.tokens} tokens, ${(stats.tokens / stats.seconds).toFixed(0)} a second`;
}

element<HTMLFormElement>("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask().catch((error: Error) => {
    state.textContent = error.message;
  });
});

try {
  const { threads, cores } = await engine.start("models.json");
  for (const place of await engine.request("list", {}))
    location.append(new Option(place.label, place.location));
  state.textContent = threads ? `Ready, with threads on ${cores} cores` : "Ready, without threads";
} catch (error) {
  state.textContent = (error as Error).message;
}
