/**
 * SIGINT and SIGTERM: the first asks the engine to stop between two pieces and save its state; a second
 * one ends the process at once, which a build survives as well.
 */
import { setThreadSignal } from "../checkpoint/stopping.ts";
import { note } from "./terminal.ts";

/** Which signal came, if one did. */
export const interruption: { signalName?: "SIGINT" | "SIGTERM" } = {};

/** Runs an action with a signal that fires on SIGINT and SIGTERM. */
export async function interruptible<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const handlers = (["SIGINT", "SIGTERM"] as const).map((name) => {
    const handler = () => {
      if (controller.signal.aborted) process.exit(name === "SIGINT" ? 130 : 143);
      interruption.signalName = name;
      note("\nstopping …");
      controller.abort();
    };
    process.on(name, handler);
    return () => process.off(name, handler);
  });
  setThreadSignal(controller.signal); // listings and small files are asked for where no signal gets to
  try {
    return await action(controller.signal);
  } finally {
    setThreadSignal(undefined);
    for (const remove of handlers) remove();
  }
}
