/** What a page has of the files of a machine: instead of src/checkpoint/node.ts. */
import { CheckpointError } from "../../../base/errors.ts";
import { placeAt } from "../../places.ts";
import { resolve } from "../../shims/path.ts";

export function realLocation(path: string): string {
  return resolve(path);
}

export function folderExists(path: string): boolean {
  return placeAt(path) !== undefined;
}

/** A page has no files of its own: recipes come as texts. */
export async function readTextFile(path: string, _limitBytes: number): Promise<string> {
  throw new CheckpointError("missing", `Cannot open "${path}": a page has no files`);
}

export function fileStart(_path: string, _byteLength: number): string {
  return "";
}
