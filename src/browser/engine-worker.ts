/** The worker that owns the engine: takes requests, sends events, results and errors. */
import { nextTurn } from "./breathe.ts";
import { Engine } from "./engine.ts";
import type { EngineFault, FromEngine, ToEngine } from "./engine-api.ts";
import { scope } from "./scope.ts";

const engine = new Engine();
const underWay = new Map<number, AbortController>();

function faultOf(error: unknown): EngineFault {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message, code, note, problems } = error as Error & Partial<EngineFault>;
  return {
    name,
    message,
    ...(typeof code === "string" ? { code } : {}), // a DOMException has a number
    ...(note ? { note } : {}),
    ...(problems ? { problems: [...problems] } : {}),
  };
}

function send(answer: FromEngine): void {
  const { value } = answer as { value?: unknown };
  scope.postMessage(answer, value instanceof Uint8Array ? [value.buffer as ArrayBuffer] : []);
}

scope.addEventListener("message", async ({ data }: MessageEvent<ToEngine>) => {
  const { kind, id } = data;
  if (kind === "abort") {
    underWay.get(id)?.abort();
    return;
  }
  const controller = new AbortController();
  underWay.set(id, controller);
  try {
    await nextTurn(); // an abort that was sent at once is known then
    const call = {
      signal: controller.signal,
      emit: (event: unknown) => send({ kind: "event", id, event }),
    };
    const method = engine[data.name] as (params: unknown, call: unknown) => Promise<unknown>;
    send({ kind: "result", id, value: await method.call(engine, data.params, call) });
  } catch (error) {
    send({ kind: "error", id, error: faultOf(error) });
  } finally {
    underWay.delete(id);
  }
});
