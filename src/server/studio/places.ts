/**
 * What of the disk clients may name: the checkpoints that are served, the parents of recipes that are, and what lies
 * below the folders of the command line, links followed. Nothing else is opened, whatever a recipe says.
 */
import { dirname, isAbsolute, join, resolve, sep } from "node:path";
import { RecipeError } from "../../base/errors.ts";
import { fileExists, folderExists, realLocation } from "../../checkpoint/node.ts";
import { publicLocation } from "../../checkpoint/shown.ts";
import { loadRecipe } from "../../plan/load-recipe.ts";
import { parentLocation } from "../../plan/parents.ts";
import { parseRecipe } from "../../recipe/parse.ts";
import type { Recipe } from "../../recipe/recipe.ts";
import { writeRecipe } from "../../recipe/write.ts";
import { ApiError } from "../api-error.ts";
import type { Models } from "../models.ts";
import type { ServedSource } from "../served-model.ts";

export class Places {
  readonly #models: Models;
  /** Real paths. */
  readonly #roots: readonly string[];
  /** Of parents that served recipes name: where they lie, by what clients see of that. */
  readonly #known = new Map<string, string>();

  /** `folders`: those of the command line. */
  constructor(models: Models, folders: readonly string[]) {
    this.#models = models;
    this.#roots = folders.filter(folderExists).map(realLocation);
  }

  /** Lets the parents of a recipe be named that the command line has named. */
  know(recipe: Recipe): void {
    for (const ref of recipe.parents) {
      const location = realLocation(parentLocation(recipe, ref, {}));
      this.#known.set(publicLocation(location), location);
    }
  }

  /** The folder of a served checkpoint. Throws ApiError 404. */
  folderOf(id: string): string {
    const { source } = this.#models.get(id).source;
    if (typeof source === "string" && folderExists(source)) return realLocation(source);
    throw new ApiError(404, `"${id}" is no checkpoint but a child that is not built`, {
      code: "not_a_checkpoint",
    });
  }

  /**
   * Whether a file of a checkpoint is its own. Who got the checkpoint from elsewhere may have got a link with it, to
   * whatever of this machine; those of the Hub's cache lead to the blobs of their repository.
   */
  liesWithin(folder: string, name: string): boolean {
    const file = realLocation(join(folder, name));
    const repository = /^(.*[/\\]models--[^/\\]+)[/\\]snapshots[/\\][^/\\]+$/.exec(folder)?.[1];
    const isBlob = repository !== undefined && dirname(file) === join(repository, "blobs");
    return dirname(file) === folder || isBlob;
  }

  /** A path by the end of it. */
  shortOf(path: string): string {
    return resolve(publicLocation(path)).split(sep).slice(-2).join("/");
  }

  /** A recipe's text with its parents by the ids of served checkpoints, where they are. */
  portable(recipe: Recipe): string {
    const ids = new Map<string, string>();
    for (const { source } of this.#models.list()) {
      if (typeof source.source === "string" && source.kind === "checkpoint")
        ids.set(realLocation(source.source), source.id);
    }
    const parents = recipe.parents.map((ref) => {
      const location = realLocation(parentLocation(recipe, ref, {}));
      return { name: ref.name, path: ids.get(location) ?? publicLocation(location) };
    });
    return writeRecipe({ ...recipe, parents });
  }

  /**
   * Reads a recipe of a client's, and says where its parents lie. Throws RecipeError, with all faults, also for a
   * parent that may not be named.
   */
  readRecipe(text: string): { recipe: Recipe; locations: Record<string, string> } {
    const recipe = parseRecipe(text);
    const locations: Record<string, string> = {};
    const problems = recipe.parents.flatMap(({ name, path, at }) => {
      const location = this.#resolve(path);
      if (location !== undefined) {
        locations[name] = location;
        return [];
      }
      const what = "it is none of the checkpoints that are served, nor below their folders";
      const message = `Cannot use "${path}" as parent "${name}": ${what}`;
      return [
        { code: "outside", message, note: `There are ${this.#names()}`, line: at.line, column: at.column },
      ];
    });
    if (problems.length > 0) throw new RecipeError(problems);
    return { recipe, locations };
  }

  #names(): string {
    const checkpoints = this.#models.list().filter(({ source }) => source.kind === "checkpoint");
    return (
      checkpoints
        .map(({ source }) => source.id)
        .slice(0, 20)
        .join(", ") || "none"
    );
  }

  #resolve(path: string): string | undefined {
    const served = this.#models
      .list()
      .find(({ source }) => source.kind === "checkpoint" && source.id === path);
    if (served) return realLocation(served.source.source as string);
    const known = this.#known.get(path);
    if (known !== undefined) return known; // of a served recipe, and perhaps not on this machine
    const candidates = isAbsolute(path)
      ? [path]
      : this.#roots.flatMap((root) => [join(root, path), join(dirname(root), path)]);
    return candidates
      .map(realLocation)
      .find((location) => folderExists(location) && this.#isAllowed(location));
  }

  #isAllowed(location: string): boolean {
    return (
      this.#known.has(location) ||
      this.#roots.some((root) => location === root || location.startsWith(root + sep))
    );
  }
}

/** The recipe of a child that is served by its file; undefined for a plan, which has none to edit. */
export async function recipeOf({ source, kind }: ServedSource): Promise<Recipe | undefined> {
  if (kind !== "child" || typeof source !== "string" || !fileExists(source)) return undefined;
  return loadRecipe(source).catch(() => undefined);
}
