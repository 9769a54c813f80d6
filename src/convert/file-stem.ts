/** The name of the model in a file: that of the file, so that equal models under one name are equal files. */
import { basename } from "node:path";

export function fileStem(path: string): string {
  return basename(path).replace(/\.gguf$/i, "");
}
