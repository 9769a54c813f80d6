/** How answers go out, of chats and of completions: whole, or as a stream whose status waits until the prompt is understood. */
import { apiErrorOf, unexpected } from "./api-error.ts";
import type { LoadedModel } from "./served-model.ts";
import { Deadline, type Serving } from "./serving.ts";
import { EventStream } from "./stream.ts";

export interface AnswerContext {
  serving: Serving;
  loaded: LoadedModel;
  deadline: Deadline;
}

export interface StreamContext extends AnswerContext {
  stream: EventStream;
  /** The prompt is understood: from now on errors are events. */
  onReady: () => void;
}

export interface Responding {
  model: string;
  /** Answers that the request asks for. */
  count: number;
  isStream: boolean;
  /** Fires when the client goes away before the answer begins. */
  client: AbortSignal;
  whole: (context: AnswerContext) => Promise<Response>;
  stream: (context: StreamContext) => Promise<void>;
}

export async function respond(
  serving: Serving,
  { model, count, isStream, client, whole, stream: answer }: Responding,
): Promise<Response> {
  const { models, timeoutSeconds } = serving;
  if (!isStream) {
    const deadline = new Deadline(timeoutSeconds, [client]);
    return models.use(model, { count, deadline }, (loaded) => whole({ serving, loaded, deadline }));
  }
  const stream = new EventStream();
  const deadline = new Deadline(timeoutSeconds, [client, stream.signal]);
  // What is wrong with the request is told by a status, so the stream is given out when the prompt is ready.
  return new Promise((resolve, reject) => {
    let isGivenOut = false;
    const onReady = () => {
      isGivenOut = true;
      resolve(stream.response);
    };
    models
      .use(model, { count, deadline }, (loaded) => answer({ serving, loaded, deadline, stream, onReady }))
      .catch((error) => {
        if (!isGivenOut) {
          stream.end();
          reject(error);
          return;
        }
        const told = apiErrorOf(error);
        if (!told) serving.log.error("stream failed", { error: String((error as Error).stack ?? error) });
        stream.send(JSON.stringify((told ?? unexpected()).body));
        stream.end();
      });
  });
}

/** The chunks of a stream: each with the head of the answer and, where usage is asked for, with the key of it. */
export class Chunks {
  readonly #stream: EventStream;
  readonly #head: object;
  readonly #usage: { usage?: null };

  constructor(stream: EventStream, head: object, { withUsage }: { withUsage: boolean }) {
    this.#stream = stream;
    this.#head = head;
    this.#usage = withUsage ? { usage: null } : {};
  }

  send(choices: readonly object[], more: object = {}): void {
    this.#stream.send(JSON.stringify({ ...this.#head, choices, ...this.#usage, ...more }));
  }

  /** The last ones: usage, where it is asked for, and the mark of the end. */
  end(usage: object): void {
    if ("usage" in this.#usage) this.send([], { usage });
    this.#stream.send("[DONE]");
    this.#stream.end();
  }
}
