/** Schemas to try, and values for them that are made without the grammar. */
import fc from "fast-check";

type Schema = Record<string, unknown>;

const NODE = {
  type: "object",
  properties: { value: { type: "integer" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
  required: ["value", "children"],
  additionalProperties: false,
};

export const SCHEMAS: Readonly<Record<string, Schema>> = {
  anything: {},
  "any object": { type: "object" },
  "any array": { type: "array" },
  scalars: { type: ["string", "integer", "number", "boolean", "null"] },
  "required properties": {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 5 },
      age: { type: "integer", minimum: 0, maximum: 130 },
    },
    required: ["name", "age"],
    additionalProperties: false,
  },
  "optional properties": {
    type: "object",
    properties: { a: { const: 1 }, b: { const: 2 }, c: { const: 3 }, d: { const: 4 } },
    additionalProperties: false,
  },
  "required among optional": {
    type: "object",
    properties: {
      a: { type: "boolean" },
      b: { type: "null" },
      c: { enum: ["x", "y"] },
      d: {},
      e: { const: 0 },
    },
    required: ["c"],
    additionalProperties: false,
  },
  "additional properties": {
    type: "object",
    properties: { a: { type: "integer" }, ab: { type: "integer" }, 'q"é\n': { type: "null" } },
    required: ["ab"],
    additionalProperties: { type: "string" },
  },
  "any additional properties": { properties: { a: { type: "boolean" } }, type: "object" },
  "required without a schema": {
    type: "object",
    required: ["x", "y"],
    additionalProperties: { type: "integer" },
  },
  map: { type: "object", additionalProperties: { type: "array", items: { type: "boolean" }, maxItems: 2 } },
  array: {
    type: "array",
    items: { enum: [1, "a", null, [], {}, [1, { k: "v" }]] },
    minItems: 1,
    maxItems: 3,
  },
  tuple: {
    type: "array",
    prefixItems: [{ const: "a" }, { type: "null" }, { type: "boolean" }],
    items: false,
    minItems: 1,
  },
  "tuple and more": {
    type: "array",
    prefixItems: [{ const: "a" }, { type: "null" }],
    items: { type: "integer" },
    maxItems: 5,
  },
  "long tuple": { type: "array", prefixItems: [{ const: 1 }], items: { const: 2 }, minItems: 3 },
  "no items": { type: "array", maxItems: 0 },
  "cut tuple": { type: "array", prefixItems: [{ const: 1 }, { const: 2 }, { const: 3 }], maxItems: 2 },
  enum: { enum: ["red", "redder", "green", 12, 12.5, 1e30, null, true, "é\n"] },
  "enum of a type": { type: ["string", "null"], enum: ["a", 1, null, {}] },
  const: { const: { a: [1, 2, { b: "c" }], d: {} } },
  anyOf: {
    anyOf: [{ type: "integer" }, { type: "object", properties: { a: { type: "string" } }, required: ["a"] }],
  },
  oneOf: {
    oneOf: [
      { type: "string", minLength: 2 },
      { type: "array", items: { type: "null" } },
    ],
  },
  "anyOf beside properties": {
    type: "object",
    properties: { a: { type: "integer" }, b: { type: "integer" } },
    anyOf: [{ required: ["a"] }, { required: ["b"] }],
    additionalProperties: false,
  },
  allOf: {
    allOf: [
      { type: "object", properties: { a: { type: "integer" } }, required: ["a"] },
      { properties: { b: { type: "integer", minimum: 3 } }, type: "object" },
      { properties: { b: { type: "integer", maximum: 5 } }, required: ["b"], type: "object" },
    ],
  },
  "allOf that closes": {
    allOf: [
      { type: "object", properties: { a: { type: "integer" } }, additionalProperties: false },
      { type: "object", properties: { b: { type: "integer" } } },
    ],
  },
  $ref: { $ref: "#/$defs/node", $defs: { node: NODE } },
  "recursion by #": {
    type: "object",
    properties: { next: { anyOf: [{ $ref: "#" }, { type: "null" }] } },
    required: ["next"],
  },
  "ambiguous recursion": {
    $ref: "#/definitions/t",
    definitions: {
      t: {
        anyOf: [
          {
            type: "object",
            properties: { l: { $ref: "#/definitions/t" } },
            required: ["l"],
            additionalProperties: false,
          },
          {
            type: "object",
            properties: { l: { $ref: "#/definitions/t" }, m: { const: 1 } },
            required: ["l", "m"],
            additionalProperties: false,
          },
          { type: "null" },
        ],
      },
    },
  },
  "$ref with more": { $ref: "#/$defs/s", maxLength: 3, $defs: { s: { type: "string", minLength: 2 } } },
  "$ref to a property": {
    type: "object",
    properties: { a: { type: "boolean" }, b: { $ref: "#/properties/a" } },
    required: ["a", "b"],
  },
  "optional without an end": {
    type: "object",
    properties: { a: { $ref: "#/$defs/endless" }, b: { type: "null" } },
    additionalProperties: false,
    $defs: { endless: { type: "object", properties: { a: { $ref: "#/$defs/endless" } }, required: ["a"] } },
  },
  "string lengths": { type: "string", minLength: 2, maxLength: 4 },
  "long string": { type: "string", minLength: 100 },
  "pattern anchored": { type: "string", pattern: "^[A-Z]{2,3}-\\d+(?:x|y[^a-z\\n])?$" },
  "pattern loose": { type: "string", pattern: "ab|^c|d$" },
  "pattern of dots": { type: "string", pattern: '^.\\s\\S"\\\\/\\w?$' },
  "pattern and lengths": { type: "string", pattern: "^a[bc]*d$", minLength: 3, maxLength: 4 },
  "pattern and other lengths": { type: "string", pattern: "a(b|cb)*d|^z", minLength: 4, maxLength: 5 },
  "pattern and format": { type: "string", pattern: "^2024-.*Z$", format: "date-time", maxLength: 20 },
  "pattern of Unicode": { type: "string", pattern: "^[à-ÿ一-龥\\u{1F600}-\\u{1F64F}]+?$" },
  date: { type: "string", format: "date" },
  time: { type: "string", format: "time" },
  "date-time": { type: "string", format: "date-time" },
  uuid: { type: "string", format: "uuid" },
  duration: { type: "string", format: "duration" },
  email: { type: "string", format: "email" },
  hostname: { type: "string", format: "hostname" },
  ipv4: { type: "string", format: "ipv4" },
  ipv6: { type: "string", format: "ipv6" },
  "number between": { type: "number", minimum: 0, maximum: 1 },
  "number from": { type: "number", minimum: 16.5 },
  "number between fractions": { type: "number", exclusiveMinimum: -12, maximum: 12.5 },
  "number inside": { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 },
  "number below": { type: "number", exclusiveMaximum: -1e-7 },
  uri: { type: "string", format: "uri" },
  "format that is only a name": { type: "string", format: "greeting", pattern: "^a" },
  "names of any text": {
    type: "object",
    propertyNames: { type: "string" },
    additionalProperties: { const: 1 },
  },
  "integer from": { type: "integer", minimum: 17 },
  "integer to": { type: "integer", maximum: -205 },
  "integer between": { type: "integer", exclusiveMinimum: -13, maximum: 1204 },
  "integer between fractions": { type: "integer", minimum: -0.5, exclusiveMaximum: 99.5 },
};

/** Forms of strings, from their definitions and not from the patterns. */
export const FORMAT_CHECKS: Readonly<Record<string, (text: string) => boolean>> = {
  date: isDate,
  time: isTime,
  "date-time": (text) => text[10] === "T" && isDate(text.slice(0, 10)) && isTime(text.slice(11)),
  uuid: (text) =>
    text
      .split("-")
      .map((part) => (/^[\da-f]+$/i.test(part) ? part.length : 0))
      .join() === "8,4,4,4,12",
  duration: (text) => text.length > 1 && /^P(\d+W|(\d+[YMD])*(T(\d+[HMS])+)?)$/.test(text) && inOrder(text),
  email: (text) => /^[^@\s.]+(\.[^@\s.]+)*@[a-z\d-]+(\.[a-z\d-]+)+$/i.test(text),
  hostname: (text) =>
    text.length <= 253 && text.split(".").every((label) => /^(?!-)[a-z\d-]{1,63}(?<!-)$/i.test(label)),
  ipv4: (text) =>
    text.split(".").length === 4 && text.split(".").every((n) => String(Number(n)) === n && Number(n) < 256),
  ipv6: isIpv6,
  // RFC 3986, appendix B, and its characters.
  uri: (text) =>
    /^[a-z][a-z\d+.-]*:(\/\/[^/?#]+)?[^?#]*(\?[^#]*)?(#[^#]*)?$/i.test(text) &&
    /^[\w.~:/?#[\]@!$&'()*+,;=%-]+$/.test(text),
  greeting: () => true,
};

function isDate(text: string): boolean {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text)?.map(Number) ?? [];
  if (year === undefined || month === undefined || day === undefined) return false;
  const date = new Date(Date.UTC(2000, month - 1, day));
  date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day && day > 0;
}

function isTime(text: string): boolean {
  const match = /^(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-](\d\d):(\d\d))$/.exec(text);
  if (!match) return false;
  const [hour, minute, second] = match.slice(1, 4).map(Number) as [number, number, number];
  return hour < 24 && minute < 60 && second < 60 && Number(match[6] ?? 0) < 24 && Number(match[7] ?? 0) < 60;
}

function inOrder(text: string): boolean {
  const [date = "", time = ""] = text.slice(1).replaceAll(/\d/g, "").split("T");
  return "YMDW".includes(date) || date === "YD" ? "HMS".includes(time) : false;
}

function isIpv6(text: string): boolean {
  try {
    return new URL(`http://[${text}]/`).hostname.startsWith("[") && !text.includes(".");
  } catch {
    return false;
  }
}

/** Values that are valid, for the schemas above that say so in these keywords; undefined for others. */
export function valuesOf(
  schema: Schema,
  root: Schema = schema,
  depth = 0,
): fc.Arbitrary<unknown> | undefined {
  if (
    typeof schema.$ref === "string" &&
    Object.keys(schema).every((key) => key.startsWith("$") || key === "definitions")
  ) {
    const target = schema.$ref
      .slice(2)
      .split("/")
      .filter(Boolean)
      .reduce<unknown>((at, key) => (at as Schema)[key], root);
    return valuesOf(target as Schema, root, depth);
  }
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (Array.isArray(schema.enum) && schema.type === undefined)
    return fc.constantFrom(...(schema.enum as unknown[]));
  if (Array.isArray(schema.anyOf) && schema.type === undefined) {
    const all = schema.anyOf as Schema[];
    const branches = (depth > 4 ? all.slice(-1) : all).map((branch) => valuesOf(branch, root, depth + 1));
    return branches.includes(undefined) ? undefined : fc.oneof(...(branches as fc.Arbitrary<unknown>[]));
  }
  if (
    ["allOf", "oneOf", "anyOf", "pattern", "format", "enum", "prefixItems", "$ref"].some(
      (key) => key in schema,
    )
  )
    return undefined;
  switch (schema.type) {
    case "null":
      return fc.constant(null);
    case "boolean":
      return fc.boolean();
    case "integer":
      return fc.integer({
        min: Math.ceil((schema.minimum as number) ?? ((schema.exclusiveMinimum as number) ?? -1001) + 1),
        max: Math.floor((schema.maximum as number) ?? (schema.exclusiveMaximum as number) ?? 2000),
      });
    case "string":
      return fc.string({
        unit: "binary",
        minLength: (schema.minLength as number) ?? 0,
        ...(schema.maxLength === undefined ? {} : { maxLength: schema.maxLength as number }),
      });
    case "array": {
      if (depth > 3 && schema.minItems === undefined) return fc.constant([]);
      const items = valuesOf((schema.items as Schema) ?? {}, root, depth + 1);
      if (!items) return undefined;
      const maxLength = (schema.maxItems as number) ?? 3;
      return fc.array(items, { minLength: (schema.minItems as number) ?? 0, maxLength });
    }
    case "object": {
      const members: Record<string, fc.Arbitrary<unknown>> = {};
      for (const [name, property] of Object.entries((schema.properties as Record<string, Schema>) ?? {})) {
        const values = depth > 6 ? undefined : valuesOf(property, root, depth + 1);
        if (values) members[name] = values;
      }
      const required = (schema.required as string[]) ?? [];
      if (required.some((name) => !members[name])) return undefined;
      const named = fc.record(members, { requiredKeys: required as never[] });
      if (schema.additionalProperties === false) return named;
      const others = valuesOf((schema.additionalProperties as Schema) ?? {}, root, depth + 1);
      if (!others) return undefined;
      // A space before the key: such keys are named by no schema above.
      const key = fc.string({ unit: "binary", maxLength: 4 }).map((text) => ` ${text}`);
      return fc
        .tuple(named, fc.dictionary(key, others, { maxKeys: 3 }))
        .map(([first, rest]) => ({ ...(first as object), ...rest }));
    }
    case undefined:
      return Object.keys(schema).length === 0 ? fc.jsonValue() : undefined;
    default:
      return undefined;
  }
}
