/**
 * The thread that runs chat templates: their text is a stranger's, and may loop or grow without end.
 *
 * Whoever asks ends the thread when the answer takes too long (chat-template.ts).
 */
import { parentPort } from "node:worker_threads";
import { answerTo, type RenderAnswer, type RenderTask } from "./render-task.ts";

const port = parentPort!;
port.on("message", (task: RenderTask) => port.postMessage(answerTo(task)));
port.postMessage({ kind: "ready" } satisfies RenderAnswer);
