/**
 * Names of files on a server. An index may come from strangers: a name in it is one file of its own repository, never
 * a path, a query or another URL.
 */
import { CheckpointError } from "../../base/errors.ts";
import { printable, shown } from "../shown.ts";

/** The name as it stands in a URL. Throws CheckpointError "outside-folder" for what is no plain name. */
export function remoteName(name: string, place: string): string {
  const isPlain = name !== "" && name !== "." && name !== ".." && !/[/\\:?#\0]|^\s|\s$/.test(name);
  if (isPlain) return encodeURIComponent(name);
  const what = `Cannot open "${shown(name)}" of "${printable(place)}": it is no name of a file there, wanted one`;
  throw new CheckpointError("outside-folder", what);
}
