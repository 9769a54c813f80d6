/**
 * JSON as a grammar (RFC 8259), with bounds where a weak model would go on for ever.
 *
 * Spaces: between two structural tokens nothing, one space, or up to two line feeds and 20 spaces or tabs; none
 * before the first byte and none after the last. Numbers: at most 30 digits before and 30 behind the point, and
 * none that is infinite as a double, as 1e999 would be. Strings are UTF-8 of any length; \u escapes of surrogates
 * stand in pairs, in order. Depth has no bound.
 */
import { character, complement, intersection } from "./characters.ts";
import {
  byteOf,
  choice,
  EMPTY,
  type Grammar,
  oneOf,
  optional,
  type Range,
  repeat,
  rule,
  scope,
  sequence,
} from "./grammar.ts";

const DIGITS = 30;
/** What doubles end with: 1.7976931348623157e308. */
const LARGEST_FRACTION = "7976931348623157";

export const SPACE: Grammar = rule("json space");
export const VALUE: Grammar = rule("json value");
export const STRING: Grammar = rule("json string");
export const OBJECT: Grammar = rule("json object");
export const ARRAY: Grammar = rule("json array");
export const NUMBER: Grammar = rule("json number");
/** Of at most 21 digits, as JSON.stringify() writes in digits. */
export const INTEGER: Grammar = rule("json integer");
/** What stands between two members or items. */
export const COMMA: Grammar = sequence(SPACE, ",", SPACE);

/** One character inside a string, in any spelling. */
export const CHARACTER: Grammar = rule("json character");

/** What does not stand in a string as it is. */
const ESCAPED: readonly Range[] = [
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
];
/** ASCII that stands as it is. */
export const PLAIN: readonly Range[] = intersection([[0, 0x7f]], complement(ESCAPED));
const ESCAPES: ReadonlyMap<number, string> = new Map(
  ESCAPED.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i)).map(
    (point) => [point, JSON.stringify(String.fromCharCode(point)).slice(1, -1)],
  ),
);

const digit = byteOf([0x30, 0x39]);
const hex = oneOf("0123456789abcdefABCDEF");
const sign = optional(oneOf("+-"));
const exponent = oneOf("eE");
const fraction = optional(sequence(".", repeat(digit, 1, DIGITS)));

export const EMPTY_OBJECT: Grammar = sequence("{", SPACE, "}");
export const EMPTY_ARRAY: Grammar = sequence("[", SPACE, "]");

function wholeNumber(digits: number): Grammar {
  return choice("0", sequence(byteOf([0x31, 0x39]), repeat(digit, 0, digits - 1)));
}

/** Digits of which the value, behind a point, is at most that of these. */
function fractionUpTo(digits: string): Grammar {
  const below = Array.from(digits, (d, i) => {
    const smaller = d === "0" ? byteOf() : byteOf([0x30, d.charCodeAt(0) - 1]);
    return sequence(digits.slice(0, i), smaller, repeat(digit, 0, DIGITS));
  });
  const equal = Array.from(digits, (_, i) => digits.slice(0, i + 1)); // and those that end sooner
  return choice(...equal, ...below);
}

const number = sequence(
  optional("-"),
  choice(
    sequence(wholeNumber(DIGITS), fraction),
    sequence(wholeNumber(DIGITS), fraction, exponent, sign, repeat(digit, 1, 2)),
    sequence(wholeNumber(DIGITS), fraction, exponent, "-", repeat(digit, 3, 3)),
    sequence(
      digit,
      fraction,
      exponent,
      optional("+"),
      choice(sequence(oneOf("012"), digit, digit), sequence("30", oneOf("01234567"))),
    ),
    sequence("1", optional(sequence(".", fractionUpTo(LARGEST_FRACTION))), exponent, optional("+"), "308"),
  ),
);

const upperHalf = sequence(oneOf("dD"), oneOf("89abAB"), hex, hex);
const lowerHalf = sequence(oneOf("dD"), oneOf("cdefCDEF"), hex, hex);
const otherUnit = choice(
  sequence(oneOf("0123456789abcefABCEF"), hex, hex, hex),
  sequence(oneOf("dD"), oneOf("01234567"), hex, hex),
);
const anyCharacter = choice(
  character(complement(ESCAPED)),
  sequence("\\", oneOf('"\\/bfnrt')),
  sequence("\\u", choice(otherUnit, sequence(upperHalf, "\\u", lowerHalf))),
);

/** What the names above stand for. */
export const JSON_RULES: Readonly<Record<string, Grammar>> = {
  "json space": choice(EMPTY, " ", sequence(repeat("\n", 1, 2), repeat(oneOf(" \t"), 0, 20))),
  "json value": choice(OBJECT, ARRAY, STRING, NUMBER, "true", "false", "null"),
  "json object": objectOf(listOf(memberOf(STRING, VALUE))),
  "json array": arrayOf(listOf(VALUE)),
  "json string": sequence('"', repeat(anyCharacter, 0), '"'),
  "json number": number,
  "json integer": sequence(optional("-"), wholeNumber(21)),
  "json character": anyCharacter,
};

// Each is one object: what is made of it is kept by it.
const ANY_OBJECT = scope(JSON_RULES, OBJECT);
const ANY_VALUE = scope(JSON_RULES, VALUE);

/** Any JSON object. */
export function jsonObject(): Grammar {
  return ANY_OBJECT;
}

/** Any JSON value. */
export function jsonValue(): Grammar {
  return ANY_VALUE;
}

export function memberOf(key: Grammar, value: Grammar): Grammar {
  return sequence(key, SPACE, ":", SPACE, value);
}

/** One or more, with commas. */
export function listOf(item: Grammar): Grammar {
  return sequence(item, repeat(sequence(COMMA, item), 0));
}

/** Braces round `members`; or round nothing, unless that is not wanted. */
export function objectOf(members: Grammar, { canBeEmpty = true }: { canBeEmpty?: boolean } = {}): Grammar {
  const inside = sequence(members, SPACE);
  return sequence("{", SPACE, canBeEmpty ? optional(inside) : inside, "}");
}

export function arrayOf(items: Grammar, { canBeEmpty = true }: { canBeEmpty?: boolean } = {}): Grammar {
  const inside = sequence(items, SPACE);
  return sequence("[", SPACE, canBeEmpty ? optional(inside) : inside, "]");
}

/** One character out of ranges of code points, inside a string and spelled as JSON.stringify() does. */
export function spelledCharacter(ranges: readonly Range[]): Grammar {
  const escaped = [...ESCAPES].filter(([point]) =>
    ranges.some(([first, last]) => first <= point && point <= last),
  );
  const plain = character(intersection(ranges, complement(ESCAPED)));
  return escaped.length === 0 ? plain : choice(plain, ...escaped.map(([, spelling]) => spelling));
}
