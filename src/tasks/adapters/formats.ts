/** All adapters by the name that a task file says. */
import type { JsonObject } from "../../text/json-file.ts";
import type { Format } from "../vocabulary.ts";
import type { Adapter } from "./adapter.ts";
import { aime } from "./aime.ts";
import { gsm8k } from "./gsm8k.ts";
import { jsonl } from "./jsonl.ts";
import { mmlu } from "./mmlu.ts";
import { mtBench } from "./mt-bench.ts";
import { speechmap } from "./speechmap.ts";

export const ADAPTERS: Readonly<Record<Format, Adapter>> = {
  jsonl,
  gsm8k,
  aime,
  mmlu,
  "mt-bench": mtBench,
  speechmap,
};

/** The format of a data file by itself, from its first row. At most one recognises a row. */
export function recognise(fields: JsonObject): Adapter | undefined {
  return Object.values(ADAPTERS).find((adapter) => adapter.recognises(fields));
}
