/**
 * What an adapter of a public format is: which fields a row has, and the question they make.
 *
 * Adapters know nothing of files and YAML. A task file may name other fields than a format's own, so each asks
 * for the names first.
 */
import type { JsonObject } from "../../text/json-file.ts";
import type { DataForm } from "../data-file.ts";
import type { RowReader } from "../row-reader.ts";
import type { Scoring } from "../task.ts";
import type { Format } from "../vocabulary.ts";

/** Fields as the task file names them; absent: the format's own. */
export interface FieldNames {
  /** A field, or a template with {{field}}. */
  prompt?: string;
  answer?: string;
  topic?: string;
  choices?: string;
}

export interface Draft {
  turns: string[];
  answers: string[];
  choices?: string[];
  /** Absent: the row's "topic". */
  topic?: string;
  /** Absent: the row's "id", or its line. */
  id?: string;
}

export interface Adapter {
  format: Format;
  /** Where the task file says none. */
  scoring: Scoring;
  /** Others that make sense. */
  scorings: readonly Scoring["kind"][];
  form?: DataForm;
  /** Whether a row of a data file by itself is one of this format. */
  recognises(fields: JsonObject): boolean;
  /** undefined where a fault was added. */
  draft(row: RowReader, names: FieldNames, scoring: Scoring): Draft | undefined;
}
