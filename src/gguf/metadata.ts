/** Looking values up in the metadata of a GGUF, each as the type that it must have. */
import { CheckpointError } from "../base/errors.ts";
import { shown } from "../base/shown.ts";
import type { GgufNumbers, GgufValue } from "./cursor.ts";
import type { GgufModel } from "./model.ts";

export class MetadataReader {
  readonly #model: Pick<GgufModel, "metadata" | "label">;
  readonly #prefix: string;

  /** `prefix` stands before every key: "deepseek2.". */
  constructor(model: Pick<GgufModel, "metadata" | "label">, prefix = "") {
    this.#model = model;
    this.#prefix = prefix;
  }

  /** A number; undefined when there is none. */
  number(key: string): number | undefined {
    const value = this.#value(key);
    // Some keys may be a list with an entry per layer; one that says the same everywhere is a number.
    const isSame = isNumbers(value) && value.length > 0 && value.every((each) => each === value[0]);
    const single = isSame ? value[0] : value;
    return single === undefined || typeof single === "number" ? single : this.#refuse(key, "a number");
  }

  /** Throws where there is none. */
  needed(key: string): number {
    return this.number(key) ?? this.#refuse(key, "a number");
  }

  string(key: string): string | undefined {
    const value = this.#value(key);
    return value === undefined || typeof value === "string" ? value : this.#refuse(key, "a string");
  }

  flag(key: string): boolean | undefined {
    const value = this.#value(key);
    return value === undefined || typeof value === "boolean" ? value : this.#refuse(key, "true or false");
  }

  strings(key: string): readonly string[] | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    return Array.isArray(value) ? (value as readonly string[]) : this.#refuse(key, "a list of strings");
  }

  numbers(key: string): GgufNumbers | undefined {
    const value = this.#value(key);
    return value === undefined || isNumbers(value) ? value : this.#refuse(key, "a list of numbers");
  }

  #value(key: string): GgufValue | undefined {
    return this.#model.metadata.get(this.#prefix + key)?.value;
  }

  #refuse(key: string, wanted: string): never {
    const value = this.#value(key);
    const found = value === undefined ? "not there" : shown(JSON.stringify(value) ?? "nothing");
    const what = `Cannot use "${shown(this.#model.label)}": ${this.#prefix}${key} is ${found}, wanted ${wanted}`;
    throw new CheckpointError("gguf-metadata", what);
  }
}

function isNumbers(value: GgufValue | undefined): value is GgufNumbers {
  return ArrayBuffer.isView(value);
}
