/** JSON Schema's formats of strings as patterns: the forms of RFC 3339 and its like, days as the calendar has them. */

import type { Pattern } from "./pattern.ts";
import { parsePattern } from "./pattern-parser.ts";

const YEAR = "[0-9]{4}";
const LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const DAY =
  "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))";
const DATE = `(?:${YEAR}-${DAY}|${LEAP_YEAR}-02-29)`;
const HOUR = "(?:[01][0-9]|2[0-3])";
const MINUTE = "[0-5][0-9]";
const TIME = `${HOUR}:${MINUTE}:${MINUTE}(?:\\.[0-9]{1,9})?(?:Z|[+-]${HOUR}:${MINUTE})`;
const HEX = "[0-9a-fA-F]";
const BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const IPV4 = `${BYTE}(?:\\.${BYTE}){3}`;
const GROUP = `${HEX}{1,4}`;
const IPV6 = [
  `(?:${GROUP}:){7}${GROUP}`,
  ...Array.from({ length: 8 }, (_, before) => {
    // "::" stands for at least one group: seven others at most.
    const head = before === 0 ? ":" : `(?:${GROUP}:){${before}}`;
    const rest = 7 - before;
    return rest === 0 ? `${head}:` : `${head}:(?:${GROUP}(?::${GROUP}){0,${rest - 1}})?`;
  }),
].join("|");
const LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,29}[a-zA-Z0-9])?"; // seven of them are within the 253 of a host name;
const PATH = "[a-zA-Z0-9._~!$&'()*+,;=:@-]*";
const URI = `[a-z][a-z0-9+.-]{0,15}://${LABEL}(?:\\.${LABEL}){0,6}(?::[0-9]{1,4})?(?:/${PATH})*(?:\\?${PATH})?(?:#${PATH})?`;
const DURATION_TIME =
  "T(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S)";
const DURATION_DATE =
  "(?:[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?|[0-9]{1,9}D)";

const SOURCES: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME,
  "date-time": `${DATE}T${TIME}`,
  duration: `P(?:${DURATION_DATE}(?:${DURATION_TIME})?|${DURATION_TIME}|[0-9]{1,9}W)`,
  uuid: `${HEX}{8}-${HEX}{4}-${HEX}{4}-${HEX}{4}-${HEX}{12}`,
  email: `[a-zA-Z0-9_+-]{1,32}(?:\\.[a-zA-Z0-9_+-]{1,31})?@${LABEL}(?:\\.${LABEL}){1,3}`,
  hostname: `${LABEL}(?:\\.${LABEL}){0,6}`,
  ipv4: IPV4,
  ipv6: IPV6,
  uri: URI,
};
/** Those that JSON Schema defines and that are not among these; any other name says nothing by itself. */
const OTHERS =
  "idn-email idn-hostname uri-reference iri iri-reference uri-template json-pointer relative-json-pointer regex";

export const FORMATS: readonly string[] = Object.keys(SOURCES);

/** Whether a format restricts a string as JSON Schema has it. */
export function isDefinedFormat(format: unknown): boolean {
  return [...FORMATS, ...OTHERS.split(" ")].includes(format as string);
}

const known = new Map<string, Pattern>();

/** undefined for a format that is not known. */
export function formatPattern(format: string): Pattern | undefined {
  if (!Object.hasOwn(SOURCES, format)) return undefined;
  let pattern = known.get(format);
  if (!pattern) {
    pattern = parsePattern(`^(?:${SOURCES[format]})$`);
    known.set(format, pattern);
  }
  return pattern;
}
