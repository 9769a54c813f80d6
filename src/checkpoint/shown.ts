/** Text of strangers in messages: base/shown.ts, under the name that this layer and those above know it by. */
export { printable, shown } from "../base/shown.ts";

/** A location without what is secret in it: signatures stand in the query of a URL, passwords before its host. */
export function publicLocation(location: string): string {
  return location.replace(/^(https?:\/\/)(?:[^/@]*@)?([^?#]*).*$/i, "$1$2");
}

/** A text with such locations in it, a recipe's: verbatim but for what is secret in them. */
export function publicText(text: string): string {
  return text.replace(/https?:\/\/[^\s"'{}[\]]*[^\s"'{}[\],]/gi, publicLocation);
}
