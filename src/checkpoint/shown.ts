/** Text of strangers in messages: base/shown.ts, under the name that this layer and those above know it by. */
export { printable, shown } from "../base/shown.ts";
