/** Objects of Kubernetes as YAML that kubectl reads back as they are. */
import { type CreateNodeOptions, type DocumentOptions, stringify, type ToStringOptions } from "yaml";
import type { KubernetesObject } from "./kubernetes-objects.ts";

const OPTIONS: ToStringOptions & CreateNodeOptions & DocumentOptions = {
  ...{ version: "1.1", lineWidth: 0, blockQuote: "literal" },
  // Aliases would be legal, and unreadable.
  aliasDuplicateObjects: false,
};

/** One document for each object. kubectl reads YAML 1.1, in which a bare `no`, `on` or `12:30` is no string. */
export function manifestText(objects: readonly KubernetesObject[]): string {
  return objects.map((object) => stringify(object, OPTIONS)).join("---\n");
}
