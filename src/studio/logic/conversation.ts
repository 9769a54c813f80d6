/**
 * A conversation with several models at once, as a tree. A turn is a prompt with answers of each model; who edits an earlier
 * prompt makes a sibling of its turn, and who asks again adds an answer to it. Which sibling and which answer are shown is
 * part of the tree, so that every branch stays where it can be found. Values never change: each step makes a new one.
 */

export interface Answer {
  /** As it was asked. */
  model: string;
  /** What sets it apart from others of its column: "λ r1 = 0.6". */
  note?: string;
  reasoning: string;
  content: string;
  state: "running" | "done" | "stopped" | "failed";
  error?: string;
  finish?: string;
  tokens?: number;
  thinkingTokens?: number;
  tokensPerSecond?: number;
  firstTokenMs?: number;
}

export interface Column {
  answers: readonly Answer[];
  shown: number;
}

export interface Turn {
  id: number;
  /** undefined: it begins the conversation. */
  parent: number | undefined;
  prompt: string;
  /** By column. */
  columns: Readonly<Record<string, Column>>;
}

export interface Conversation {
  turns: readonly Turn[];
  /** The child that is shown, by turn; of the beginning by 0. */
  chosen: Readonly<Record<number, number>>;
}

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

export const EMPTY: Conversation = { turns: [], chosen: {} };

/** Adds a turn and shows it. Ids count from 1. */
export function addTurn(
  conversation: Conversation,
  parent: number | undefined,
  prompt: string,
): { conversation: Conversation; id: number } {
  const id = conversation.turns.length + 1;
  const turns = [...conversation.turns, { id, parent, prompt, columns: {} }];
  return { conversation: { turns, chosen: { ...conversation.chosen, [parent ?? 0]: id } }, id };
}

export function turnOf({ turns }: Conversation, id: number): Turn {
  const turn = turns[id - 1];
  if (!turn) throw new RangeError(`Cannot find turn ${id}: there are ${turns.length}`);
  return turn;
}

/** The turns that are shown, from the first. */
export function shownTurns(conversation: Conversation): Turn[] {
  const path: Turn[] = [];
  let next = conversation.chosen[0];
  while (next !== undefined) {
    path.push(turnOf(conversation, next));
    next = conversation.chosen[next];
  }
  return path;
}

/** Turns beside this one, itself included, in the order in which they were made. */
export function siblingsOf({ turns }: Conversation, { parent }: Turn): Turn[] {
  return turns.filter((turn) => turn.parent === parent);
}

export function showTurn(conversation: Conversation, turn: Turn): Conversation {
  return { ...conversation, chosen: { ...conversation.chosen, [turn.parent ?? 0]: turn.id } };
}

/** Adds an answer to a column of a turn and shows it. */
export function addAnswer(
  conversation: Conversation,
  id: number,
  column: string,
  answer: Answer,
): { conversation: Conversation; index: number } {
  const answers = [...(turnOf(conversation, id).columns[column]?.answers ?? []), answer];
  const index = answers.length - 1;
  return { conversation: withColumn(conversation, id, column, { answers, shown: index }), index };
}

export function changeAnswer(
  conversation: Conversation,
  { id, column, index }: { id: number; column: string; index: number },
  change: (answer: Answer) => Answer,
): Conversation {
  const before = turnOf(conversation, id).columns[column];
  if (!before?.answers[index]) return conversation;
  const answers = before.answers.map((answer, at) => (at === index ? change(answer) : answer));
  return withColumn(conversation, id, column, { ...before, answers });
}

export function showAnswer(
  conversation: Conversation,
  id: number,
  column: string,
  shown: number,
): Conversation {
  const before = turnOf(conversation, id).columns[column];
  return before ? withColumn(conversation, id, column, { ...before, shown }) : conversation;
}

export function answerShown(turn: Turn, column: string): Answer | undefined {
  const held = turn.columns[column];
  return held?.answers[held.shown];
}

/** What a model is asked at a turn: its own answers to the turns before, without their thinking. */
export function messagesAt(
  conversation: Conversation,
  id: number,
  column: string,
  system: string,
): Message[] {
  const path: Turn[] = [];
  for (let at: number | undefined = id; at !== undefined; at = path[0]!.parent)
    path.unshift(turnOf(conversation, at));
  const messages: Message[] = system.trim() === "" ? [] : [{ role: "system", content: system }];
  for (const turn of path) {
    messages.push({ role: "user", content: turn.prompt });
    const answer = turn.id === id ? undefined : answerShown(turn, column);
    if (answer) messages.push({ role: "assistant", content: answer.content });
  }
  return messages;
}

export function isRunning({ turns }: Conversation): boolean {
  return turns.some(({ columns }) =>
    Object.values(columns).some(({ answers }) => answers.some(({ state }) => state === "running")),
  );
}

function withColumn(conversation: Conversation, id: number, name: string, column: Column): Conversation {
  const turns = conversation.turns.map((turn) =>
    turn.id === id ? { ...turn, columns: { ...turn.columns, [name]: column } } : turn,
  );
  return { ...conversation, turns };
}
