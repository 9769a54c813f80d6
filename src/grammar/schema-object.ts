/** Objects of a schema: named properties in its order, those that are not required or not, then others. */
import { ANY_CHARACTER, complement, intersection, pointsOf } from "./characters.ts";
import {
  byteOf,
  choice,
  EMPTY,
  type Grammar,
  literal,
  optional,
  type Range,
  repeat,
  rule,
  sequence,
} from "./grammar.ts";
import {
  COMMA,
  EMPTY_OBJECT,
  memberOf,
  objectOf,
  PLAIN,
  STRING,
  spelledCharacter,
  VALUE,
} from "./json-grammar.ts";
import { joinPath, type SchemaContext } from "./schema-context.ts";
import { isObject, type JsonObject } from "./schema-merge.ts";

interface Member {
  grammar: Grammar;
  isRequired: boolean;
}

export function objectGrammar(context: SchemaContext, schema: JsonObject, path: string): Grammar {
  const { properties = {}, required = [], additionalProperties = true } = schema;
  if (!isObject(properties))
    return context.refuse(joinPath(path, "properties"), "it is no object", { wanted: "schemas by name" });
  if (!Array.isArray(required) || !required.every((name) => typeof name === "string"))
    return context.refuse(joinPath(path, "required"), "it is no list of names", { wanted: "names" });

  const names = new Set([...Object.keys(properties), ...required]);
  if (names.size === 0 && additionalProperties === true) return rule("json object");
  const others = othersOf(context, additionalProperties, { names, path });
  const members = [...names].map((name): Member => {
    const isRequired = required.includes(name);
    const key = literal(JSON.stringify(name));
    if (Object.hasOwn(properties, name)) {
      const value = context.valueOf(properties[name], joinPath(path, "properties", name));
      return { grammar: context.newRule("member", memberOf(key, value)), isRequired };
    }
    if (!others) {
      const wanted = `a schema for ${JSON.stringify(name)} in properties`;
      context.refuse(joinPath(path, "required"), "properties lacks one that no others may stand for", {
        wanted,
      });
    }
    return { grammar: memberOf(key, others?.value ?? EMPTY), isRequired };
  });
  return membersGrammar(context, members, others && memberOf(others.key, others.value));
}

function othersOf(
  context: SchemaContext,
  schema: unknown,
  { names, path }: { names: ReadonlySet<string>; path: string },
): { key: Grammar; value: Grammar } | undefined {
  if (schema === false) return undefined;
  const value = schema === true ? VALUE : context.valueOf(schema, joinPath(path, "additionalProperties"));
  return { key: otherKey(context, names), value: context.newRule("other value", value) };
}

/**
 * Members with commas between them, whichever are left out. Until the first one is written there is no comma, so the
 * choice is of the first; what may follow it is a rule for each place, and each leads to the next.
 */
function membersGrammar(
  context: SchemaContext,
  members: readonly Member[],
  other: Grammar | undefined,
): Grammar {
  const otherRule = other && context.newRule("other member", other);
  const more = otherRule ? [repeat(sequence(COMMA, otherRule), 0)] : [];
  const withComma = ({ grammar, isRequired }: Member): Grammar =>
    isRequired ? sequence(COMMA, grammar) : optional(sequence(COMMA, grammar));

  const firstRequired = members.findIndex(({ isRequired }) => isRequired);
  const canBeEmpty = firstRequired === -1;
  const numFirst = canBeEmpty ? members.length : firstRequired + 1; // that can stand first
  let rest = sequence(...members.slice(numFirst).map(withComma), ...more);
  const starts: Grammar[] = canBeEmpty && otherRule ? [sequence(otherRule, ...more)] : [];
  for (let at = numFirst - 1; at >= 0; at--) {
    if (numFirst > 1) rest = context.newRule("members", rest);
    starts.unshift(sequence(members[at]!.grammar, rest));
    rest = sequence(withComma(members[at]!), rest);
  }
  if (starts.length === 0) return EMPTY_OBJECT;
  return objectOf(choice(...starts), { canBeEmpty });
}

/** A key that is none of these, spelled as JSON.stringify() does: other spellings could hide one of them. */
function otherKey(context: SchemaContext, names: ReadonlySet<string>): Grammar {
  if (names.size === 0) return STRING;
  interface Node {
    isName: boolean;
    next: Map<string, Node>;
  }
  const root: Node = { isName: false, next: new Map() };
  for (const name of names) {
    let node = root;
    for (const character of name) {
      let next = node.next.get(character);
      if (!next) {
        next = { isName: false, next: new Map() };
        node.next.set(character, next);
      }
      node = next;
    }
    node.isName = true;
  }

  const anyEnd = context.newRule("end of a key", sequence(repeat(spelledCharacter(ANY_CHARACTER), 0), '"'));
  const notPlain = context.newRule("key", sequence(spelledCharacter(complement(PLAIN)), anyEnd));
  const otherThan = (characters: readonly Range[]): Grammar => {
    if (complement(PLAIN).some((range) => intersection([range], characters).length > 0))
      return sequence(spelledCharacter(complement(characters)), anyEnd);
    // One byte and a rule: all the other characters here would be some 100 nodes for each character of a name.
    return choice(sequence(byteOf(...intersection(PLAIN, complement(characters))), anyEnd), notPlain);
  };
  // Rules by number, so that a long name does not nest as deep as it is long.
  const waiting: { node: Node; name: string }[] = [];
  const ruleOf = (node: Node): Grammar => {
    const reference = context.newRule("key", EMPTY);
    waiting.push({ node, name: reference.name });
    return reference;
  };
  const start = ruleOf(root);
  for (let at = waiting.pop(); at; at = waiting.pop()) {
    const { isName, next } = at.node;
    context.rules[at.name] = choice(
      ...(isName ? [] : ['"']),
      ...[...next].map(([character, node]) => sequence(spelledCharacter(pointsOf(character)), ruleOf(node))),
      otherThan(pointsOf([...next.keys()].join(""))),
    );
  }
  return sequence('"', start);
}
