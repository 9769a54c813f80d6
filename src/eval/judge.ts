/** Placeholder of the interface only. */
import type { RefusalJudgeIdentity } from "./run-config.ts";

export interface RefusalJudge {
  readonly identity: RefusalJudgeIdentity;
  judge(asked: { prompt: string; content: string }): Promise<{ refused: boolean; rule?: string }>;
}
export function openJudge(_t: object): RefusalJudge {
  throw new Error("later");
}
