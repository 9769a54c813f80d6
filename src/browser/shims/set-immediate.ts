/** The global setImmediate. The bundler puts it in where the name is used. */
import { inTurn } from "../breathe.ts";

export const setImmediate: (task: () => void) => void = inTurn;
