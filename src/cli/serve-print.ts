/** chimera serve --print: the commands with which other engines serve a checkpoint. */
import type { Engine, EngineFacts } from "../arch/engines.ts";
import { UsageError } from "./exit.ts";
import { clean, paint, print, printJson, quoted } from "./terminal.ts";

export interface PrintOptions {
  engine: Engine;
  gpuBytes: number;
  gpusPerNode: number;
  json: boolean;
}

export async function printEngine(
  places: readonly string[],
  { engine, gpuBytes, gpusPerNode, json }: PrintOptions,
): Promise<void> {
  const [place, ...more] = places;
  if (place === undefined || more.length > 0)
    throw new UsageError(`Cannot use --print with ${places.length} places, wanted one checkpoint`);
  const label = /^([\w.-]+)=(.+)$/s.exec(place);
  const { fileExists } = await import("../checkpoint/node.ts");
  const isLabelled = label !== null && !fileExists(place);
  const location = isLabelled ? label[2]! : place;
  const known = await whereIs(location, engine);
  const name = isLabelled ? label[1]! : known.name;
  const { engineCommands } = await import("../arch/engines.ts");
  const facts = await factsOf(location);
  const { commands, notes } = engineCommands(engine, facts, {
    ...{ gpuBytes, gpusPerNode, name: quoted(name), location: quoted(known.location) },
    ...(known.revision === undefined ? {} : { revision: quoted(known.revision) }),
    ...(known.isRemote ? { fetch: ["chimera", "pull", quoted(location), "-o", quoted(name)] } : {}),
    ...(known.gguf ? { gguf: known.gguf.map(quoted) } : {}),
  });
  if (json) {
    const lines = commands.map(({ about, command }) => ({ about, command: command.join(" ") }));
    return printJson({ engine, facts, notes, commands: lines });
  }
  for (const line of notes) print(paint("dim", `# ${clean(line)}`));
  for (const { about, command } of commands) {
    if (commands.length > 1) print(paint("dim", `# ${about}`));
    print(command.join(" "));
  }
}

interface Whereabouts {
  /** A path, or a repository of the Hub. */
  location: string;
  revision?: string;
  name: string;
  isRemote: boolean;
  /** Of a GGUF, what llama-server is told. */
  gguf?: string[];
}

/** A checkpoint as an engine names it: a path, or ORG/NAME of the Hub. Throws UsageError for what engines do not read. */
async function whereIs(location: string, engine: Engine): Promise<Whereabouts> {
  const { basename, resolve } = await import("node:path");
  const { fileExists, folderExists } = await import("../checkpoint/node.ts");
  const refuse = (what: string, note: string): never => {
    throw new UsageError(`Cannot print commands for "${location}": ${what}`, note);
  };
  const isHere = fileExists(location);
  const hub = /^(?:hf:(?:\/\/)?)?([^/@:]+\/[^/@]+)(?:@([^/]+))?(?:\/([^/]+\.gguf))?$/i.exec(location);
  const file = /\.gguf$/i.test(location) && !folderExists(location) ? basename(location) : undefined;
  if (file !== undefined && engine !== "llama.cpp")
    refuse("it is a GGUF file, which is for llama.cpp", "--print llama.cpp prints its command");
  if (isHere || (!hub && file !== undefined && !/^\w\w+:/.test(location))) {
    if (file !== undefined)
      return { location, name: file.replace(/\.gguf$/i, ""), isRemote: false, gguf: ["-m", location] };
    if (!folderExists(location))
      refuse("it is no checkpoint", "Engines read folders: a recipe is built first, with chimera build");
    return { location, name: basename(resolve(location)), isRemote: false };
  }
  if (!hub)
    refuse(
      "engines read folders and the Hub, wanted one of them",
      "chimera pull brings a checkpoint here; a recipe is built first, with chimera build",
    );
  const [, repo, revision, gguf] = hub!;
  const name = gguf?.replace(/\.gguf$/i, "") ?? repo!.split("/")[1]!;
  return {
    ...{ location: repo!, name, isRemote: true },
    ...(revision === undefined ? {} : { revision }),
    ...(gguf === undefined ? {} : { gguf: ["--hf-repo", repo!, "--hf-file", gguf] }),
  };
}

/** Headers and small files; no tensor is read. */
async function factsOf(location: string): Promise<EngineFacts> {
  const { engineFacts } = await import("../arch/engines.ts");
  const { openCheckpoint } = await import("../checkpoint/checkpoint.ts");
  const { openStore } = await import("../checkpoint/stores.ts");
  const { loadChatTemplate } = await import("../text/chat-template.ts");
  const store = openStore(location);
  const checkpoint = await openCheckpoint(store);
  if (checkpoint.config === undefined)
    throw new UsageError(
      `Cannot print commands for "${location}": it has no config.json, wanted a checkpoint`,
    );
  let read = 0;
  for (const { byteLength } of checkpoint.tensors.values()) read += byteLength;
  // Of a download that is not complete, the index knows the rest.
  const bytes = Math.max(read, checkpoint.totalSize ?? 0);
  const names = [...checkpoint.tensors.keys(), ...checkpoint.unread];
  const template = await loadChatTemplate(store)
    .then((found) => found.textFor().text)
    .catch(() => undefined);
  return engineFacts(checkpoint.config, { names, bytes, template });
}
