/** Text of strangers in messages: base/shown.ts, under the name that this layer and those above know it by. */
export { printable, shown } from "../base/shown.ts";

/**
 * A location without what is secret in it: signatures stand in the query of a URL, passwords before its host. What is no
 * URL, as a password with a slash in it makes it, loses all up to its last "@".
 */
export function publicLocation(location: string): string {
  const [, scheme, rest] = /^(\s*https?:[/\\]*)(.*)$/is.exec(location) ?? [];
  if (scheme === undefined || rest === undefined) return location;
  const authority = URL.canParse(location) ? /^[^/\\?#]*/.exec(rest)![0] : rest;
  return scheme + rest.slice(authority.lastIndexOf("@") + 1).replace(/[?#].*$/s, "");
}

/** A text with such locations in it, a recipe's: verbatim but for what is secret in them. */
export function publicText(text: string): string {
  return text.replace(/https?:\/\/[^\s"'{}[\]]*[^\s"'{}[\],]/gi, publicLocation);
}
