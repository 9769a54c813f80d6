/**
 * Where the data of a task of lm-evaluation-harness lie: local files of the split that is tested.
 *
 * There data_files go to the loader of the `datasets` package; here they are paths beside the task's file. What
 * would be downloaded, or made by code, is refused.
 */

import type { Faults } from "../../yaml/faults.ts";
import { describe, readText } from "../../yaml/fields.ts";
import type { Position } from "../../yaml/position.ts";
import { oneOf, quote } from "../../yaml/wording.ts";
import { type HarnessFields, isNothing, type Placed, refuse, textOf } from "./placed.ts";

/** A path as written, and where. */
export interface HarnessFile {
  path: string;
  at: Position;
  faults: Faults;
}

const LOCAL_ONLY =
  "Nothing is downloaded: write the data set to a JSON Lines file, and name it in dataset_kwargs: { data_files: … }";

/** The files of the split that is tested: test, or else validation. */
export function readData(
  fields: HarnessFields,
  missing: (key: string, wanted: string) => void,
): HarnessFile[] {
  const path = fields.get("dataset_path");
  const kwargs = fields.get("dataset_kwargs");
  const name = fields.get("dataset_name");
  if (!path) missing("dataset_path", '"json"');
  else if (path.field.value.kind !== "scalar" || path.field.value.value !== "json")
    refuse(
      path,
      `${describe(path.field.value)}, a data set that is not here`,
      '"json" with local data_files',
      LOCAL_ONLY,
    );
  if (name && !isNothing(name.field.value))
    refuse(name, describe(name.field.value), "none: local data have no name");
  const splitOf = (key: string) => {
    const placed = fields.get(key);
    return placed && !isNothing(placed.field.value) ? placed : undefined;
  };
  const split = splitOf("test_split") ?? splitOf("validation_split");
  if (!split) missing("test_split", "the split whose questions are asked");
  const splitName = textOf(split, "the name of a split");
  if (!kwargs) {
    if (path) missing("dataset_kwargs", "data_files: the path of a data file");
    return [];
  }
  const { field, faults } = kwargs;
  const entries = field.value.kind === "mapping" ? field.value.entries : undefined;
  const files = entries?.find(({ key }) => key === "data_files");
  for (const entry of entries ?? []) {
    if (entry.key === "data_files" || entry.key === "trust_remote_code") continue;
    refuse(
      { field: { ...entry, value: { ...entry.value, at: entry.at } }, faults },
      "it changes what is loaded",
      "data_files only",
    );
  }
  if (!files) {
    refuse(kwargs, "it has no data_files", "data_files: the path of a data file", LOCAL_ONLY);
    return [];
  }
  if (splitName === undefined || !split) return [];
  return filesOf({ field: files, faults }, splitName, split);
}

function filesOf(placed: Placed, split: string, splitPlace: Placed): HarnessFile[] {
  let { value } = placed.field;
  if (value.kind === "mapping") {
    const entry = value.entries.find(({ key }) => key === split);
    if (!entry) {
      const splits = oneOf(value.entries.map(({ key }) => key));
      refuse(splitPlace, `data_files has no split ${quote(split)}`, splits || "a split");
      return [];
    }
    value = entry.value;
  } else if (split !== "train") {
    refuse(
      splitPlace,
      `it is ${quote(split)}; files without a split are the split "train"`,
      '"train"',
      `Or name it: data_files: { ${split}: … }`,
    );
  }
  const items = value.kind === "list" ? value.items : [value];
  return items.flatMap((item) => {
    const path = readText(item, '"data_files"', "the path of a data file", placed.faults);
    if (path === undefined) return [];
    if (/^[a-z0-9+]{2,}:\/\//i.test(path) || /[*?[\]]/.test(path)) {
      const what = `${quote(path)} is a pattern or lies elsewhere`;
      refuse(
        { field: { ...placed.field, value: item }, faults: placed.faults },
        what,
        "the path of a file",
        LOCAL_ONLY,
      );
      return [];
    }
    return [{ path, at: item.at, faults: placed.faults }];
  });
}
