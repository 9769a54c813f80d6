/**
 * Turns of the event loop. Work without threads runs in the worker that also takes messages: without a turn now
 * and then nobody could stop it. Timers are no good for that: five of them in a row take 4 ms each.
 */
const { port1, port2 } = new MessageChannel();
const waiting: (() => void)[] = [];
port1.onmessage = () => waiting.shift()?.();

/** Runs a task when the messages that are here by now have been taken. */
export function inTurn(task: () => void): void {
  waiting.push(task);
  port2.postMessage(undefined);
}

export function nextTurn(): Promise<void> {
  return new Promise(inTurn);
}

/** How long a message may wait. */
const PATIENCE_MS = 12;
let lastTurn = 0;

/** A turn, where the last one is some time ago. */
export async function breathe(): Promise<void> {
  if (performance.now() - lastTurn < PATIENCE_MS) return;
  await nextTurn();
  lastTurn = performance.now();
}
