/**
 * A JSON Schema as a grammar of exactly the values that it allows, in one order of their properties.
 *
 * Properties come in the order of the schema, those it does not name after them. Strings that the schema restricts
 * (enum, const, pattern, format, keys) are spelled as JSON.stringify() does; integers and numbers with bounds are
 * written in digits, without an exponent. A schema without a type that has keywords of one type means that type. oneOf
 * is taken as anyOf. What restricts and is not supported is refused, with its place: what a grammar lets through is
 * valid (with oneOf, valid for at least one branch).
 */
import { GrammarError } from "../base/errors.ts";
import { nearest } from "../base/nearest.ts";
import { choice, type Grammar, rule, scope } from "./grammar.ts";
import { JSON_RULES, VALUE } from "./json-grammar.ts";
import { networkOf } from "./network.ts";
import { arrayGrammar } from "./schema-array.ts";
import { joinPath, SchemaContext } from "./schema-context.ts";
import { COMBINING, isAnnotation, SUPPORTED, TYPE_KEYWORDS, UNSUPPORTED } from "./schema-keywords.ts";
import { isObject, isSame, type JsonObject, MergeFault, mergeSchemas } from "./schema-merge.ts";
import { objectGrammar } from "./schema-object.ts";
import { findReference } from "./schema-reference.ts";
import { constantGrammar, integerGrammar, numberGrammar, stringGrammar } from "./schema-scalar.ts";

/** Of JSON: a property costs two, its name and its schema. */
const DEEPEST = 128;
const MOST_VALUES = 20_000;
/** Merging can multiply what a schema says. */
const MOST_SCHEMAS = 20_000;
const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"];

/**
 * Throws GrammarError with all problems, each with its path, such as properties.age.multipleOf. What it gives can be
 * compiled: see CompiledGrammar.
 */
export function grammarOfSchema(schema: unknown): Grammar {
  checkSize(schema);
  return new SchemaReader(schema).read();
}

class SchemaReader {
  readonly #root: unknown;
  readonly #context: SchemaContext;
  /** Schemas that were referred to, by pointer, still to be read. */
  readonly #waiting: { pointer: string; schema: unknown; path: string }[] = [];
  readonly #known = new Set<string>();
  /** By pointer, those that it means as they are, with nothing around. */
  readonly #means = new Map<string, string[]>();
  /** What is being read: the pointer, while nothing is around it. */
  #reading: string | undefined;
  #numSchemas = 0;
  #depth = 0;

  constructor(root: unknown) {
    this.#root = root;
    this.#context = new SchemaContext((schema, path) => {
      const outer = this.#reading;
      this.#reading = undefined;
      const grammar = this.#valueOf(schema, path);
      this.#reading = outer;
      return grammar;
    });
  }

  read(): Grammar {
    const start = this.#refer("#", this.#root, "");
    const { rules, problems } = this.#context;
    for (let next = this.#waiting.pop(); next; next = this.#waiting.pop()) {
      this.#reading = next.pointer;
      rules[next.pointer] = this.#valueOf(next.schema, next.path);
    }
    this.#checkCircles();
    if (problems.length > 0) throw new GrammarError(problems);
    const grammar = scope({ ...JSON_RULES, ...rules }, start);
    try {
      networkOf(grammar); // kept there: compiling it costs nothing more
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error;
      if (error.problems[0]?.code !== "no-finite-output")
        throw new GrammarError(error.problems.map((problem) => ({ ...problem, path: "" })));
      const wanted = "an end: a branch, an optional property or an empty array where it refers to itself";
      this.#context.refuse("", "no finite value is valid", { wanted, code: "no-finite-output" });
      throw new GrammarError(problems);
    }
    return grammar;
  }

  #valueOf(schema: unknown, path: string): Grammar {
    if (++this.#numSchemas > MOST_SCHEMAS || this.#depth >= DEEPEST) {
      const wanted = `at most ${MOST_SCHEMAS} schemas, ${DEEPEST} deep, once its parts are put together`;
      this.#context.refuse(path, "it grows too large", { wanted, code: "schema-too-large" });
      throw new GrammarError(this.#context.problems);
    }
    this.#depth++;
    const grammar = this.#grammarOf(schema, path);
    this.#depth--;
    return grammar;
  }

  #grammarOf(schema: unknown, path: string): Grammar {
    if (schema === true) return VALUE;
    if (schema === false) return choice();
    if (!isObject(schema)) {
      const is = `it is ${JSON.stringify(schema) ?? typeof schema}`;
      return this.#context.refuse(path, is, { wanted: "a schema: an object, true or false" });
    }
    const keys = Object.keys(schema).filter((key) => !isAnnotation(key, schema[key]));
    if (keys.length === 0) return VALUE;
    const unknown = keys.filter((key) => !SUPPORTED.has(key));
    for (const key of unknown) this.#refuseKeyword(key, path);
    if (unknown.length > 0) return choice();
    try {
      return this.#combined(schema, keys, path);
    } catch (fault) {
      if (!(fault instanceof MergeFault)) throw fault;
      return this.#context.refuse(path, `its parts cannot be put together: ${fault.message}`, {
        wanted: "parts that restrict different things",
      });
    }
  }

  /** `keys` are those that are no annotations. */
  #combined(schema: JsonObject, keys: readonly string[], path: string): Grammar {
    const without = (...left: string[]): JsonObject =>
      Object.fromEntries(keys.filter((key) => !left.includes(key)).map((key) => [key, schema[key]]));
    if (schema.allOf !== undefined) {
      const parts = this.#branches(schema, "allOf", path);
      return this.#valueOf(parts.reduce(mergeSchemas, without("allOf")), joinPath(path, "allOf"));
    }
    if (schema.$ref !== undefined) {
      const found = findReference(this.#root, schema.$ref);
      if (typeof found === "string")
        return this.#context.refuse(joinPath(path, "$ref"), found, {
          wanted: '"#" or a place in this schema, such as "#/$defs/name"',
        });
      if (keys.length === 1) return this.#refer(found.pointer, found.schema, found.path);
      return this.#valueOf(mergeSchemas(found.schema, without("$ref")), path);
    }
    for (const key of ["anyOf", "oneOf"]) {
      if (schema[key] === undefined) continue;
      const rest = without(key);
      const branches = this.#branches(schema, key, path).map((branch, i) =>
        this.#valueOf(keys.length === 1 ? branch : mergeSchemas(rest, branch), joinPath(path, key, i)),
      );
      return choice(...branches);
    }
    return this.#plain(schema, path);
  }

  #branches(schema: JsonObject, key: string, path: string): readonly unknown[] {
    const branches = schema[key];
    if (Array.isArray(branches) && branches.length > 0) return branches;
    this.#context.refuse(joinPath(path, key), "it is no list of schemas", { wanted: "one or more" });
    return [false];
  }

  #plain(schema: JsonObject, path: string): Grammar {
    const types = this.#typesOf(schema, path);
    if (!types) return choice();
    if (schema.enum !== undefined || schema.const !== undefined) return this.#listed(schema, types, path);
    return choice(...types.map((type) => this.#ofType(type, schema, path)));
  }

  /** Without integer where there is number, which says more. */
  #typesOf(schema: JsonObject, path: string): string[] | undefined {
    const { type } = schema;
    if (type === undefined) {
      const meant = Object.keys(TYPE_KEYWORDS).filter((name) =>
        TYPE_KEYWORDS[name]!.some((key) => schema[key] !== undefined),
      );
      return meant.length > 0 ? meant : TYPES.filter((name) => name !== "integer");
    }
    const types: unknown[] = Array.isArray(type) ? type : [type];
    for (const name of types) {
      if (TYPES.includes(name as string)) continue;
      const is = `${JSON.stringify(name)} is no type`;
      this.#context.refuse(joinPath(path, "type"), is, { wanted: `some of ${TYPES.join(", ")}` });
      return undefined;
    }
    const names = [...new Set(types as string[])];
    return names.filter((name) => name !== "integer" || !names.includes("number"));
  }

  #ofType(type: string, schema: JsonObject, path: string): Grammar {
    switch (type) {
      case "object":
        return objectGrammar(this.#context, schema, path);
      case "array":
        return arrayGrammar(this.#context, schema, path);
      case "string":
        return stringGrammar(this.#context, schema, path);
      case "integer":
        return integerGrammar(this.#context, schema, path);
      case "number":
        return numberGrammar(this.#context, schema, path);
      case "boolean":
        return choice("true", "false");
      default:
        return choice("null");
    }
  }

  #listed(schema: JsonObject, types: readonly string[], path: string): Grammar {
    const others = Object.keys(schema).filter((key) => !COMBINING.includes(key) && SUPPORTED.has(key));
    if (others.length > 0)
      return this.#context.refuse(joinPath(path, others[0]!), "it stands beside enum or const", {
        wanted: "only the values that are meant",
      });
    if (schema.enum !== undefined && !Array.isArray(schema.enum))
      return this.#context.refuse(joinPath(path, "enum"), "it is no list", { wanted: "a list of values" });
    const hasConst = Object.hasOwn(schema, "const");
    const values = (schema.enum as unknown[] | undefined) ?? [schema.const];
    const kept = values.filter(
      (value) => types.some((type) => isOfType(value, type)) && (!hasConst || isSame(value, schema.const)),
    );
    return choice(...kept.map(constantGrammar));
  }

  #refer(pointer: string, schema: unknown, path: string): Grammar {
    if (this.#reading !== undefined) {
      const means = this.#means.get(this.#reading) ?? [];
      this.#means.set(this.#reading, [...means, pointer]);
    }
    if (!this.#known.has(pointer)) {
      this.#known.add(pointer);
      this.#waiting.push({ pointer, schema, path });
    }
    return rule(pointer);
  }

  #refuseKeyword(key: string, path: string): void {
    const instead = UNSUPPORTED.get(key);
    const near = instead === undefined ? nearest(key, SUPPORTED) : undefined;
    const all = [...SUPPORTED].join(", ");
    this.#context.refuse(
      joinPath(path, key),
      instead ? "this keyword is not supported" : "it is no keyword",
      {
        wanted: instead ?? (near === undefined ? `one of ${all}` : `perhaps "${near}"`),
        code: instead ? "unsupported-keyword" : "unknown-keyword",
      },
    );
  }

  /** A schema that means itself says nothing: { "$ref": "#" } in anyOf of the whole. */
  #checkCircles(): void {
    const left = new Set<string>();
    const open = new Set<string>();
    const visit = (pointer: string): boolean => {
      if (open.has(pointer)) return true;
      if (left.has(pointer)) return false;
      open.add(pointer);
      const isCircle = (this.#means.get(pointer) ?? []).some(visit);
      open.delete(pointer);
      left.add(pointer);
      return isCircle;
    };
    for (const pointer of this.#means.keys()) {
      if (!visit(pointer)) continue;
      const wanted = "a property or an item between a schema and its like";
      this.#context.refuse(`${pointer}`, "it refers to itself as a whole", {
        wanted,
        code: "endless-reference",
      });
      return;
    }
  }
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "object":
      return isObject(value);
    case "array":
      return Array.isArray(value);
    case "null":
      return value === null;
    case "integer":
      return Number.isInteger(value);
    default:
      return (typeof value as string) === type;
  }
}

/** Before anything walks through the schema, which may be anything, also refer to itself as an object. */
function checkSize(schema: unknown): void {
  const refuse = (is: string, wanted: string): never => {
    const message = `Cannot follow the schema: ${is}, wanted ${wanted}`;
    throw new GrammarError([{ code: "schema-too-large", message, path: "" }]);
  };
  const waiting: { value: unknown; depth: number }[] = [{ value: schema, depth: 1 }];
  let count = 0;
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    if (++count > MOST_VALUES) refuse(`it has more than ${MOST_VALUES} values`, "fewer");
    if (next.depth > DEEPEST) refuse(`it nests deeper than ${DEEPEST} levels`, "fewer");
    if (typeof next.value !== "object" || next.value === null) continue;
    for (const value of Object.values(next.value)) waiting.push({ value, depth: next.depth + 1 });
  }
}
