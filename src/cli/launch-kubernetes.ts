import type { Command } from "commander";
export function addKubernetes(_launch: Command): void {}
