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
  const { folderExists } = await import("../checkpoint/node.ts");
  const location = label && !folderExists(place) ? label[2]! : place;
  if (!folderExists(location))
    throw new UsageError(
      `Cannot print commands for "${location}": it is no folder, wanted a checkpoint`,
      "Engines read folders: a recipe is built first, with chimera build",
    );
  const { basename, resolve } = await import("node:path");
  const name = label && !folderExists(place) ? label[1]! : basename(resolve(location));
  const { engineCommands } = await import("../arch/engines.ts");
  const facts = await factsOf(location);
  const options = { gpuBytes, gpusPerNode, location: quoted(location), name: quoted(name) };
  const { commands, notes } = engineCommands(engine, facts, options);
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
