/** The Web Worker of one rank: loads its share, then runs a pass whenever it is told to. */
import {
  failureOf,
  type LoadedRank,
  loadRank,
  type RankAnswer,
  type RankMessage,
  type RankSetup,
  runPass,
} from "../runtime/load-rank.ts";
import { type PlaceCopy, restorePlaces } from "./places.ts";
import { scope } from "./scope.ts";

export type ToRankWorker =
  | { kind: "load"; setup: RankSetup; places: PlaceCopy[] }
  | { kind: "run" }
  | RankMessage;

export type FromRankWorker = RankAnswer | { kind: "passed" };

const send = (answer: FromRankWorker) => scope.postMessage(answer);
let loaded: LoadedRank | undefined;

scope.addEventListener("message", async ({ data }: MessageEvent<ToRankWorker>) => {
  switch (data.kind) {
    case "load":
      restorePlaces(data.places);
      try {
        loaded = await loadRank(data.setup, send);
        send({ kind: "ready" });
      } catch (error) {
        send(failureOf(error));
      }
      return;
    case "slab":
      loaded!.cache.addSlab(data.slab);
      return;
    case "run":
      loaded!.exchange.awaitCommand(); // it is there
      await runPass(loaded!, send);
      send({ kind: "passed" });
      return;
    default:
      throw data satisfies never;
  }
});
