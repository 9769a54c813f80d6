/** The command line in a process of its own, as bin/chimera.mjs starts it, from whatever was compiled. */
import { main } from "../../src/cli/main.ts";

process.exitCode = await main(process.argv.slice(2));
