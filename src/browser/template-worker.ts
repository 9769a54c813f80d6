/** The Web Worker that runs chat templates: whoever asks ends it when a template does not end. */
import { answerTo, type RenderAnswer, type RenderTask } from "../text/render-task.ts";
import { scope } from "./scope.ts";

scope.addEventListener("message", ({ data }: MessageEvent<RenderTask>) => scope.postMessage(answerTo(data)));
scope.postMessage({ kind: "ready" } satisfies RenderAnswer);
