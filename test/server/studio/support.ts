/** The studio's routes over the small models, without a socket. */
import { discover } from "../../../src/server/discover.ts";
import { type OpenServing, openServing, type ServeOptions } from "../../../src/server/open-serving.ts";

export const PLACES: readonly string[] = ["models", "recipes/mini/r1t.yaml"];

export interface StudioServer extends OpenServing {
  /** Status and JSON of a GET. */
  get<T>(path: string): Promise<{ status: number; body: T }>;
  send<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }>;
  /** Data of the events of an answer, in order. */
  events<T>(method: string, path: string, body?: unknown): Promise<T[]>;
}

export async function openStudio(
  studio: ServeOptions["studio"] = {},
  places: readonly string[] = PLACES,
): Promise<StudioServer> {
  const opened = await openServing(discover(places), {
    studio: { folders: places.filter((place) => !place.endsWith(".yaml")), ...studio },
  });
  const ask = (method: string, path: string, body?: unknown) =>
    opened.app.request(`/api${path}`, {
      method,
      headers: { host: "localhost", ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const send = async <T>(method: string, path: string, body?: unknown) => {
    const response = await ask(method, path, body);
    return { status: response.status, body: (await response.json()) as T };
  };
  return {
    ...opened,
    get: (path) => send("GET", path),
    send,
    async events<T>(method: string, path: string, body?: unknown): Promise<T[]> {
      const text = await (await ask(method, path, body)).text();
      return text
        .split("\n\n")
        .filter((event) => event.startsWith("data: "))
        .map((event) => JSON.parse(event.slice("data: ".length)) as T);
    },
  };
}
