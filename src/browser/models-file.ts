/**
 * models.json: which checkpoints a page has, as static files. A server of files lists no folders, so their names,
 * sizes and hashes stand here; scripts/build-browser.mjs writes it.
 */
import { CheckpointError } from "../base/errors.ts";

export interface ListedFile {
  name: string;
  byteLength: number;
  /** In hex. */
  sha256: string;
}

export interface ListedCheckpoint {
  /** As recipes name it: "/models/mini-v3". */
  location: string;
  /** Its folder, relative to models.json, with "/" at its end. */
  url: string;
  files: ListedFile[];
}

export interface ModelsFile {
  format: "chimera-models";
  version: 1;
  checkpoints: ListedCheckpoint[];
}

/** Throws CheckpointError "models-json" for what is none, or not of this version. */
export function parseModelsFile(text: string, name: string): ModelsFile {
  const fail = (what: string): never => {
    throw new CheckpointError("models-json", `Cannot read "${name}": ${what}`);
  };
  let file: Partial<ModelsFile> = {};
  try {
    file = JSON.parse(text) as Partial<ModelsFile>;
  } catch (error) {
    fail(`it is not JSON (${(error as Error).message})`);
  }
  if (file?.format !== "chimera-models") fail('its format is another, wanted "chimera-models"');
  if (file.version !== 1) fail(`its version is ${file.version}, wanted 1`);
  if (!Array.isArray(file.checkpoints)) fail("it has no list of checkpoints");
  for (const checkpoint of file.checkpoints!) {
    const { location, url, files } = checkpoint ?? {};
    if (typeof location !== "string" || !location.startsWith("/") || typeof url !== "string")
      fail("a checkpoint has no location and url");
    if (!Array.isArray(files) || !files.every(isListedFile))
      fail(`"${location}" has a file without name, byteLength and sha256`);
  }
  return file as ModelsFile;
}

function isListedFile(file: Partial<ListedFile> | null): boolean {
  if (typeof file?.name !== "string" || file.name.includes("/")) return false;
  return Number.isSafeInteger(file.byteLength) && /^[0-9a-f]{64}$/.test(file.sha256 ?? "");
}
