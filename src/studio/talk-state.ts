/** The conversation of the talk page, which outlives a look at another page, and the answers that are on their way. */
import { signal } from "@preact/signals";
import {
  type Answer,
  addAnswer,
  addTurn,
  type Conversation,
  changeAnswer,
  EMPTY,
  messagesAt,
} from "./logic/conversation.ts";
import { engine } from "./state.ts";

export interface TalkSettings {
  system: string;
  /** Empty: as the model advises. */
  temperature: string;
  seed: string;
  maxTokens: string;
}

/** A column of answers: who is asked for it. */
export interface Speaker {
  column: string;
  model: string;
  note?: string;
}

export const conversation = signal<Conversation>(EMPTY);
export const settings = signal<TalkSettings>({ system: "", temperature: "", seed: "", maxTokens: "512" });

const KEPT = "chimera-talk";
const FLUSH_MS = 40;
const KEEP_MS = 500;
const running = new Map<string, AbortController>();

/** Takes up the conversation that this tab had before it was loaded again. */
export function startTalk(): void {
  try {
    const held = JSON.parse(sessionStorage.getItem(KEPT) ?? "null") as Conversation | null;
    if (held && Array.isArray(held.turns)) conversation.value = ended(held);
  } catch {
    // Nothing usable was kept: the conversation begins anew.
  }
  let waiting: ReturnType<typeof setTimeout> | undefined;
  const keep = () => {
    clearTimeout(waiting);
    waiting = undefined;
    try {
      sessionStorage.setItem(KEPT, JSON.stringify(conversation.value));
    } catch {
      // Too long to be kept: it stays for as long as the page does.
    }
  };
  // While answers come it changes with every token.
  conversation.subscribe(() => {
    waiting ??= setTimeout(keep, KEEP_MS);
  });
  addEventListener("pagehide", keep);
}

/** Says something behind `parent`; all speakers answer it. */
export function say(parent: number | undefined, prompt: string, speakers: readonly Speaker[]): void {
  const added = addTurn(conversation.value, parent, prompt);
  conversation.value = added.conversation;
  for (const speaker of speakers) void ask(added.id, speaker);
}

/** Asks for one more answer of a turn. */
export async function ask(id: number, { column, model, note }: Speaker): Promise<void> {
  stopAnswer(id, column);
  const { system, temperature, seed, maxTokens } = settings.value;
  const messages = messagesAt(conversation.value, id, column, system);
  const first: Answer = { model, reasoning: "", content: "", state: "running", ...(note ? { note } : {}) };
  const added = addAnswer(conversation.value, id, column, first);
  conversation.value = added.conversation;
  const where = { id, column, index: added.index };
  const change = (changes: Partial<Answer>) => {
    conversation.value = changeAnswer(conversation.value, where, (before) => ({ ...before, ...changes }));
  };
  const controller = new AbortController();
  const key = `${id} ${column}`;
  running.set(key, controller);
  let [reasoning, content] = ["", ""];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    timer = undefined;
    change({ reasoning, content });
  };
  let last: Partial<Answer>;
  try {
    const end = await engine().chat(
      {
        ...{ model, messages },
        ...numberAt("temperature", temperature),
        ...numberAt("seed", seed),
        ...numberAt("maxTokens", maxTokens),
      },
      {
        signal: controller.signal,
        onDelta: (delta) => {
          reasoning += delta.reasoning ?? "";
          content += delta.content ?? "";
          timer ??= setTimeout(flush, FLUSH_MS);
        },
      },
    );
    last = { ...end, state: "done" };
  } catch (error) {
    last = controller.signal.aborted
      ? { state: "stopped" }
      : { state: "failed", error: error instanceof Error ? error.message : String(error) };
  }
  clearTimeout(timer);
  if (running.get(key) === controller) running.delete(key);
  change({ reasoning, content, ...last });
}

export function stopAnswer(id: number, column: string): void {
  running.get(`${id} ${column}`)?.abort();
}

export function stopAll(): void {
  for (const controller of running.values()) controller.abort();
}

export function clear(): void {
  stopAll();
  conversation.value = EMPTY;
}

function numberAt<Key extends string>(key: Key, text: string): Partial<Record<Key, number>> {
  const value = Number(text);
  return text.trim() === "" || !Number.isFinite(value) ? {} : ({ [key]: value } as Record<Key, number>);
}

/** What ran when the page went away will not go on. */
function ended(held: Conversation): Conversation {
  const turns = held.turns.map((turn) => ({
    ...turn,
    columns: Object.fromEntries(
      Object.entries(turn.columns).map(([name, { shown, answers }]) => [
        name,
        {
          shown,
          answers: answers.map((answer) =>
            answer.state === "running" ? { ...answer, state: "stopped" as const } : answer,
          ),
        },
      ]),
    ),
  }));
  return { ...held, turns };
}
