/**
 * What is in a checkpoint, as plain data: from headers, index, config.json and the small files beside them,
 * never from tensor data. Works on a folder, on one .safetensors file and on an index whose shards are
 * absent. What is malformed throws; what is missing or odd is a finding of the report.
 */
import { architectureOf } from "../arch/architecture.ts";
import type { Problem } from "../base/errors.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { ggufOf } from "../checkpoint/gguf-store.ts";
import { publicLocation } from "../checkpoint/shown.ts";
import { openLocation } from "../checkpoint/stores.ts";
import { type ConfigFacts, configFacts } from "./config-facts.ts";
import { findings } from "./findings.ts";
import { type GgufFacts, ggufFacts } from "./gguf-facts.ts";
import { expectedByName, type ListedTensor, takeInventory } from "./inventory.ts";
import { readSideFiles, type SideFiles } from "./side-files.ts";
import type { Opened } from "./subject.ts";
import {
  byDtype,
  byLayer,
  byRole,
  type DtypeTotal,
  type LayerTotal,
  type RoleTotal,
  sumOf,
  type Total,
} from "./totals.ts";

/** JSON-able throughout. */
export interface InspectReport {
  label: string;
  location: string;
  opened: Opened;
  /** The one file that was opened. */
  file?: string;
  architecture: { id: string; label: string; known: boolean };
  /** Absent without a config.json. */
  config?: ConfigFacts;
  /** As config.json says. Block and scale format only for fp8-block. */
  quantization: {
    kind: "fp8-block" | "none" | "other";
    block?: [rows: number, cols: number];
    scaleFormat?: "float" | "ue8m0";
  };
  shards: { count: number; missing: string[]; fileBytes: number };
  /** Over all tensors. Elements and bytes of what only its name tells are 0. */
  totals: Total;
  /** How many tensors were read from headers, are as config.json says, or are known by name only. */
  basis: { header: number; config: number; name: number };
  byDtype: DtypeTotal[];
  byRole: RoleTotal[];
  byLayer: LayerTotal[];
  /** What belongs to no layer: embeddings, the final norm, the head. */
  outsideLayers: Total;
  mtp: Total & { declared: number; layers: number[] };
  tokenizer: SideFiles["tokenizer"];
  chatTemplate?: NonNullable<SideFiles["chatTemplate"]>;
  generationConfig?: NonNullable<SideFiles["generationConfig"]>;
  licences: string[];
  lineage?: NonNullable<SideFiles["lineage"]>;
  /** Of a GGUF: how it is stored. All else is about what its tensors decode to. */
  gguf?: GgufFacts;
  problems: Problem[];
}

/**
 * Says what is in a checkpoint, from its headers.
 *
 * @param location a folder, one .safetensors or .gguf file, or an index.json with or without its shards
 * @throws CheckpointError for what is not there or malformed. What is missing or odd is in `problems`
 */
export async function inspect(location: string): Promise<InspectReport> {
  const { store, options } = openLocation(location);
  const checkpoint = await openCheckpoint(store, options);
  const arch = architectureOf(checkpoint.config);
  const expected = expectedByName(arch);
  const inventory = takeInventory(checkpoint, arch, expected);
  const sideFiles = await readSideFiles(checkpoint);
  const opened = kindOf(checkpoint, options.only);
  const isPart = opened === "file" && (await hasSiblings(checkpoint, options.only!));
  const { layers, outside } = byLayer(inventory);
  const { shards } = checkpoint;
  const gguf = await ggufOf(store)?.model();
  const config = configFacts(checkpoint.config, arch);
  const { tokenizer, chatTemplate, generationConfig, licences, lineage } = sideFiles;
  return {
    label: checkpoint.label,
    location: publicLocation(store.location),
    opened,
    ...(options.only ? { file: options.only } : {}),
    architecture: { id: arch.id, label: arch.label, known: arch.known },
    ...(config ? { config } : {}),
    quantization:
      arch.quantization === "fp8-block"
        ? {
            kind: arch.quantization,
            block: [arch.block.rows, arch.block.cols],
            scaleFormat: arch.scaleFormat,
          }
        : { kind: arch.quantization },
    shards: {
      count: shards.length,
      missing: shards.filter(({ header }) => !header).map(({ name }) => name),
      fileBytes: shards.reduce((sum, { header }) => sum + (header?.fileBytes ?? 0), 0),
    },
    totals: sumOf(inventory),
    basis: basisOf(inventory),
    byDtype: byDtype(inventory),
    byRole: byRole(inventory),
    byLayer: layers,
    outsideLayers: outside,
    mtp: {
      declared: arch.numMtpLayers,
      layers: layers.filter(({ kind }) => kind === "mtp").map(({ layer }) => layer),
      ...sumOf(inventory.filter(({ place }) => place.mtp)),
    },
    tokenizer,
    ...(chatTemplate ? { chatTemplate } : {}),
    ...(generationConfig ? { generationConfig } : {}),
    licences,
    ...(lineage ? { lineage } : {}),
    ...(gguf ? { gguf: ggufFacts(gguf, arch) } : {}),
    problems: findings({ checkpoint, arch, inventory, expected, sideFiles, opened, isPart }),
  };
}

function kindOf({ shards, hasIndex }: Checkpoint, only: string | undefined): Opened {
  if (only && !hasIndex) return "file";
  return shards.every(({ header }) => !header) ? "index" : "folder";
}

/** Whether a file lies beside others of its checkpoint. */
async function hasSiblings({ store }: Checkpoint, file: string): Promise<boolean> {
  const entries = await store.list();
  return entries.some(({ name }) => name !== file && /\.safetensors(\.index\.json)?$/.test(name));
}

function basisOf(inventory: readonly ListedTensor[]): InspectReport["basis"] {
  const counts = { header: 0, config: 0, name: 0 };
  for (const { basis } of inventory) counts[basis]++;
  return counts;
}
