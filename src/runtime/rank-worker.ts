/** One rank's thread: loads its share, then runs pass after pass until it is ended. */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import {
  failureOf,
  loadRank,
  type RankAnswer,
  type RankMessage,
  type RankSetup,
  runPass,
} from "./load-rank.ts";

const port = parentPort!;
const send = (answer: RankAnswer) => port.postMessage(answer);

try {
  const loaded = await loadRank(workerData as RankSetup, send);
  send({ kind: "ready" });
  // Blocked between passes: a wake-up costs 5 µs, and messages about new memory are fetched by hand.
  for (;;) {
    loaded.exchange.awaitCommand();
    for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) {
      loaded.cache.addSlab((got.message as RankMessage).slab);
    }
    await runPass(loaded, send);
  }
} catch (error) {
  send(failureOf(error));
}
