/**
 * Reading values of config.json, which come from strangers: any key may be missing, of another type or absurd.
 *
 * Nothing here throws. Only own properties count, so a key called "constructor" is missing unless the file
 * has it.
 */
import type { Problem } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";

export type Config = Readonly<Record<string, unknown>>;

/** The value as a JSON object, or undefined when it is something else. */
export function asConfig(value: unknown): Config | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Config) : undefined;
}

export function own(config: Config, key: string): unknown {
  return Object.hasOwn(config, key) ? config[key] : undefined;
}

export function isCount(value: unknown, least = 0): value is number {
  return Number.isSafeInteger(value) && (value as number) >= least;
}

/** The count under a key, or undefined when it is missing or none. */
export function countAt(config: Config, key: string, least = 0): number | undefined {
  const value = own(config, key);
  return isCount(value, least) ? value : undefined;
}

/** A value as messages show it: short, on one line, with strings quoted and control characters escaped. */
export function show(value: unknown): string {
  if (typeof value === "string") {
    const text = value.length > 40 ? `${value.slice(0, 40)}…` : value;
    return JSON.stringify(text).replace(/[\u007f-\u009f]/g, "?");
  }
  if (Array.isArray(value)) return value.length <= 4 ? `[${value.map(brief).join(", ")}]` : "a list";
  return brief(value);
}

function brief(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return value.length <= 40 ? show(value) : "a string";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

/** What stands for a value that is missing or null. Neither given: both are problems. */
export interface Fallback {
  absent?: number;
  none?: number;
}

/** Reads one value after another and keeps every problem, not only the first. */
export class ConfigReader {
  readonly config: Config;
  readonly problems: Problem[] = [];

  constructor(config: Config) {
    this.config = config;
  }

  /** A whole number; 0 beside a problem when there is none. */
  count(key: string, least: number, fallback: Fallback = {}): number {
    const value = own(this.config, key);
    if (isCount(value, least)) return value;
    if (value === undefined && fallback.absent !== undefined) return fallback.absent;
    if (value === null && fallback.none !== undefined) return fallback.none;
    const or = fallback.none === undefined ? "" : ", or null";
    this.refuse(key, `a whole number of ${least} or more${or}`);
    return 0;
  }

  /** True or false; false when it is missing or null. */
  flag(key: string): boolean {
    const value = own(this.config, key) ?? false;
    if (typeof value !== "boolean") this.refuse(key, "true or false");
    return value === true;
  }

  /** One of some words, or undefined when it is missing, null or another. */
  word(key: string, words: readonly string[]): string | undefined {
    const value = own(this.config, key) ?? undefined;
    if (value === undefined || words.includes(value as string)) return value as string | undefined;
    this.refuse(key, words.map((word) => `"${word}"`).join(" or "));
    return undefined;
  }

  /** Two values that cannot both be right. */
  contradiction(key: string, is: string, wanted: string): void {
    this.problems.push({
      code: "config-contradiction",
      message: `Cannot use "${key}" of config.json: it is ${is}, wanted ${wanted}`,
    });
  }

  refuse(key: string, wanted: string, value: unknown = own(this.config, key)): void {
    const missing = value === undefined;
    const problem: Problem = {
      code: missing ? "config-missing-key" : "config-bad-value",
      message: `Cannot read "${key}" of config.json: it is ${missing ? "missing" : show(value)}, wanted ${wanted}`,
    };
    const similar = missing ? nearest(key, Object.keys(this.config).slice(0, 1000)) : undefined;
    if (similar !== undefined)
      problem.note = `There is a key ${show(similar)}; if it is a misspelling, correct it`;
    this.problems.push(problem);
  }
}
