/** A client of the server that costs little: what it measures with shares the machine with what it measures. */
import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

export const QUESTIONS: readonly string[] = [
  "What is 17 + 25?",
  "What is 901 - 77?",
  "Spell river backwards.",
  "Sort 41 7 93 20.",
  "What is the capital of Peru?",
  "What is 12 + 60 - 33?",
  "How many letters e are in green?",
  "Tell me about the Grey Paper.",
];

export interface Answered {
  text: string;
  tokens: number;
  firstTokenSeconds: number;
}

interface Wishes {
  maxTokens?: number;
  /** The end token never comes: the answer is as long as may be. */
  ignoresEnd?: boolean;
}

/** The small models' end of an answer. */
const END_TOKEN = "1";
/** What an event's text stands behind, in the server's own spelling; parsing each would be half of the client's work. */
const TEXT = /"(?:reasoning_content|content)":("(?:[^"\\]|\\.)*")/;

export class LoadClient {
  readonly #port: number;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY });

  constructor(port: number) {
    this.#port = port;
  }

  async ask(question: string, wishes: Wishes = {}): Promise<Answered> {
    const startedAt = performance.now();
    const response = await this.#post(question, wishes).response;
    if (response.statusCode !== 200)
      throw new Error(`status ${response.statusCode}: ${await textOf(response)}`);
    let [text, rest, tokens, firstTokenSeconds, isComplete] = ["", "", 0, 0, false];
    response.setEncoding("utf8");
    for await (const piece of response) {
      const events = (rest + piece).split("\n\n");
      rest = events.pop()!;
      for (const event of events) {
        if (event === "data: [DONE]") isComplete = true;
        const found = TEXT.exec(event);
        if (found && found[1] !== '""') {
          if (firstTokenSeconds === 0) firstTokenSeconds = (performance.now() - startedAt) / 1000;
          text += JSON.parse(found[1]!);
        }
        if (event.startsWith('data: {"error"')) throw new Error(event);
        if (event.includes('"predicted_n"')) tokens = Number(/"predicted_n":(\d+)/.exec(event)![1]);
      }
    }
    if (!isComplete) throw new Error(`the answer to "${question}" was cut off`);
    return { text, tokens, firstTokenSeconds };
  }

  /** Of a request that is not taken. */
  async refusal(question: string): Promise<{ status: number; retryAfter: number }> {
    const response = await this.#post(question, {}).response;
    await textOf(response);
    return { status: response.statusCode ?? 0, retryAfter: Number(response.headers["retry-after"] ?? 0) };
  }

  /** A request whose client can go away. */
  begin(question: string, wishes: Wishes): { begun: Promise<unknown>; destroy: () => void } {
    const { sent, response } = this.#post(question, wishes);
    sent.on("error", () => {}); // its own doing
    return { begun: response.then((answer) => once(answer)), destroy: () => sent.destroy() };
  }

  /** Waits until so many requests are under way. Throws after two seconds. */
  async untilBusy(count: number): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      const { models } = JSON.parse(await this.#get("/health")) as { models: { requests: number }[] };
      if (models.reduce((sum, { requests }) => sum + requests, 0) === count) return;
      await sleep(20);
    }
    throw new Error(`the server has not come to ${count} requests in two seconds`);
  }

  #post(
    question: string,
    { maxTokens, ignoresEnd }: Wishes,
  ): { sent: ClientRequest; response: Promise<IncomingMessage> } {
    const body = JSON.stringify({
      ...{ model: "mini-r1", messages: [{ role: "user", content: question }], temperature: 0, stream: true },
      ...(maxTokens === undefined ? {} : { max_tokens: maxTokens }),
      ...(ignoresEnd ? { logit_bias: { [END_TOKEN]: -100 } } : {}),
    });
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const path = "/v1/chat/completions";
    const sent = request({
      host: "127.0.0.1",
      port: this.#port,
      agent: this.#agent,
      method: "POST",
      path,
      headers,
    });
    const response = new Promise<IncomingMessage>((resolve, reject) => {
      sent.on("response", resolve);
      sent.on("error", reject);
    });
    sent.end(body);
    return { sent, response };
  }

  async #get(path: string): Promise<string> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request({ host: "127.0.0.1", port: this.#port, path }, resolve).on("error", reject).end();
    });
    return textOf(response);
  }
}

/** The first bytes of an answer. */
function once(response: IncomingMessage): Promise<void> {
  response.on("error", () => {});
  return new Promise((resolve) => response.once("data", () => resolve()));
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const piece of response) text += piece;
  return text;
}
