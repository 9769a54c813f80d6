/** What two studies are compared by. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

/** Every file of a study by its path, without what is time, place or speed. */
export function studyContents(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" }).sort()) {
    const path = join(folder, name);
    if (!statSync(path).isFile() || name.endsWith("timings.ndjson")) continue;
    const text = readFileSync(path, "utf8");
    files.set(
      name,
      name.endsWith("records.ndjson")
        ? text
        : text
            .replaceAll(/"(seconds|tokensPerSecond|sessions)": [\d.e-]+/g, '"$1": 0')
            .replaceAll(/"startedAt": "[^"]*"/g, '"startedAt": ""')
            .replaceAll(/<dt>time of all runs<\/dt><dd>\d+ s/g, "<dt>time of all runs</dt><dd>0 s"),
    );
  }
  return files;
}
