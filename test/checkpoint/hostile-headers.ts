/** Headers that must be refused, one for each way to be wrong, as data: for hostile-header.test.ts. */
import { rawShard } from "../support/safetensors.ts";

export interface HostileHeader {
  what: string;
  file: Uint8Array;
  code: string;
  /** What the message must tell, besides the name of the file: the tensor and both values. */
  says: RegExp;
  note?: RegExp;
}

/** One tensor "a" of four bytes, with parts replaced. */
function entry({ name = '"a"', dtype = '"F32"', shape = "[1]", offsets = "[0,4]", more = "" } = {}): string {
  return `{${name}:{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}${more}}}`;
}

const ONE = entry();
const bytes = (...values: number[]) => Uint8Array.from(values);
const times = (count: number, text: string) => text.repeat(count);
const LONG = times(10_000, "x");

/** Text that is no header, with what the message says it found. */
const MALFORMED: [what: string, header: string, says: RegExp][] = [
  ["an empty header", "", /does not start with \{/],
  ["a list", "[]", /does not start with \{/],
  ["null", "null", /does not start with \{/],
  ["space first", ` ${ONE}`, /does not start with \{/],
  ["a byte order mark", `\ufeff${ONE}`, /does not start with \{/],
  ["an open object", "{", /found the end of the text, wanted a string \(at character 1\)/],
  ["an open name", '{"a', /the end of the text inside a string/],
  ["a name without value", '{"a"}', /found "}", wanted :/],
  ["a name without entry", '{"a":}', /found "}}?", wanted \{/],
  ["no closing brace", ONE.slice(0, -1), /found the end of the text, wanted , or \}/],
  ["a comma at the end", `${ONE.slice(0, -1)},}`, /wanted a string/],
  ["two commas", `${ONE.slice(0, -1)},,}`, /wanted a string/],
  ["a missing comma", `${ONE.slice(0, -1)} "b":{}}`, /wanted , or \}/],
  ["single quotes", "{'a':{}}", /found "'a':\{\}\}", wanted a string/],
  ["a name without quotes", "{a:{}}", /wanted a string/],
  ["a comment", `{/**/"a":{}}`, /wanted a string/],
  ["an entry that is null", '{"a":null}', /found "null}", wanted \{/],
  ["an entry that is a list", '{"a":[]}', /wanted \{/],
  ["an entry that is text", '{"a":"F32"}', /wanted \{/],
  ["something after the object", `${ONE}x`, /found "x" after the end, wanted nothing/],
  ["two objects", `${ONE}{}`, /found "\{}" after the end/],
  ["NUL as padding", `${ONE}\0\0`, /found "\\u0000\\u0000" after the end/],
  ["an unknown escape", '{"a\\x":{}}', /wanted an escape/],
  ["a short escape", '{"\\u12":{}}', /wanted an escape/],
  ["half a surrogate pair", entry({ name: '"\\ud800"' }), /"\\ud800", which holds half of a surrogate pair/],
  ["a surrogate pair reversed", entry({ name: '"\\udc00\\ud800"' }), /half of a surrogate pair/],
  ["a line feed in a name", '{"a\nb":{}}', /control character inside a string/],
  ["a name twice", `${ONE.slice(0, -1)},${ONE.slice(1)}`, /found "a" twice, wanted each name once/],
  [
    "a name twice, once escaped",
    `${ONE.slice(0, -1)},${entry({ name: '"\\u0061"' }).slice(1)}`,
    /found "a" twice/,
  ],
  ["dtype twice", entry({ more: ',"dtype":"F32"' }), /found "dtype" twice in the entry of "a"/],
  ["shape twice", entry({ more: ',"shape":[1]' }), /found "shape" twice in the entry of "a"/],
  [
    "data_offsets twice",
    entry({ more: ',"data_offsets":[0,4]' }),
    /found "data_offsets" twice in the entry of "a"/,
  ],
  [
    "an unknown field",
    entry({ more: ',"device":"cuda"' }),
    /found key "device" in the entry of "a", wanted dtype, shape, data_offsets/,
  ],
  ["the field __proto__", entry({ more: ',"__proto__":{}' }), /found key "__proto__" in the entry of "a"/],
  ["no dtype", '{"a":{"shape":[1],"data_offsets":[0,4]}}', /the entry of "a" has no dtype/],
  ["no shape", '{"a":{"dtype":"F32","data_offsets":[0,4]}}', /the entry of "a" has no shape/],
  ["no data_offsets", '{"a":{"dtype":"F32","shape":[1]}}', /the entry of "a" has no two data_offsets/],
  ["an empty entry", '{"a":{}}', /the entry of "a" has no dtype/],
  ["a dtype that is a number", entry({ dtype: "32" }), /found "32,.*", wanted a string/],
  ["a dtype that is null", entry({ dtype: "null" }), /wanted a string/],
  ["a shape that is a number", entry({ shape: "1" }), /wanted \[/],
  ["a shape of lists", entry({ shape: "[[1]]" }), /found dimension \[1.* of "a", wanted a whole number/],
  ["33 dimensions", entry({ shape: `[${times(32, "1,")}1]` }), /found more than 32 elements/],
  ["one offset", entry({ offsets: "[0]" }), /has no two data_offsets/],
  ["no offsets in the list", entry({ offsets: "[]" }), /has no two data_offsets/],
  ["three offsets", entry({ offsets: "[0,4,4]" }), /found more than 2 elements/],
  ["__metadata__ twice", '{"__metadata__":{},"__metadata__":{}}', /found "__metadata__" twice/],
  ["a key of __metadata__ twice", '{"__metadata__":{"k":"1","k":"2"}}', /found "k" twice in __metadata__/],
  ["__metadata__ that is null", '{"__metadata__":null}', /found "null}", wanted \{/],
  ["__metadata__ that is a list", '{"__metadata__":["format"]}', /wanted \{/],
  ["__metadata__ with a number", '{"__metadata__":{"k":1}}', /found "1}}", wanted a string/],
  ["__metadata__ with null", '{"__metadata__":{"k":null}}', /wanted a string/],
  ["__metadata__ with an object", '{"__metadata__":{"k":{}}}', /wanted a string/],
  ["100,000 open objects", times(100_000, '{"a":'), /found key "a" in the entry of "a"/],
  ["100,000 open lists", `{"a":{"shape":${times(100_000, "[")}`, /found dimension \[+ of "a"/],
  [
    "a number of 100,000 digits",
    entry({ shape: `[${times(100_000, "9")}]` }),
    /found dimension 9{24} of "a"/,
  ],
];

/** Text in place of a number; 0 to 2^53 - 1 in plain digits is what the format has. */
const NOT_WHOLE = [
  ...["-1", "-0", "+1", "1.5", "1.0", "1e3", "1E3", "01", "0x1", "1_000", ".5", "1.", "-", "NaN", "Infinity"],
  ...[
    '"1"',
    "true",
    "null",
    "{}",
    "9007199254740992",
    "9007199254740993",
    "18446744073709551616",
    "1e400",
    "",
  ],
];

const TYPES: [dtype: string, shape: string, length: number, code: string, says: RegExp, note?: RegExp][] = [
  [
    "F8_E4M4",
    "[4]",
    4,
    "unknown-dtype",
    /dtype is "F8_E4M4", wanted a safetensors type/,
    /Did you mean F8_E4M3\?/,
  ],
  ["bf16", "[2]", 4, "unknown-dtype", /dtype is "bf16"/, /Did you mean BF16\?/],
  ["float32", "[1]", 4, "unknown-dtype", /dtype is "float32"/, /Known types: F64, /],
  ["", "[1]", 4, "unknown-dtype", /dtype is ""/],
  ["__proto__", "[1]", 4, "unknown-dtype", /dtype is "__proto__"/],
  ["constructor", "[1]", 4, "unknown-dtype", /dtype is "constructor"/],
  ["toString", "[1]", 4, "unknown-dtype", /dtype is "toString"/],
  [LONG, "[1]", 4, "unknown-dtype", /dtype is "x{200}…"/],
  ["F32", "[2]", 4, "length-mismatch", /data_offsets span 4 bytes, F32 \[2\] wants 8/],
  ["BF16", "[]", 4, "length-mismatch", /data_offsets span 4 bytes, BF16 \[\] wants 2/],
  ["F32", "[0]", 4, "length-mismatch", /data_offsets span 4 bytes, F32 \[0\] wants 0/],
  ["U8", "[9007199254740991,0]", 4, "length-mismatch", /span 4 bytes, U8 \[9007199254740991, 0\] wants 0/],
  ["F4", "[2]", 2, "length-mismatch", /span 2 bytes, F4 \[2\] wants 1/],
  ["U8", "[9007199254740991]", 4, "length-mismatch", /span 4 bytes, U8 \[.*\] wants 9,007,199,254,740,991/],
  ["F4", "[1]", 1, "bad-shape", /F4 \[1\] has no whole number of bytes/],
  ["F4", "[3,3]", 5, "bad-shape", /F4 \[3, 3\] has no whole number of bytes/],
  ["F6_E2M3", "[2]", 2, "bad-shape", /F6_E2M3 \[2\] has no whole number of bytes/],
  [
    "U8",
    "[9007199254740991,2]",
    4,
    "bad-shape",
    /U8 \[9007199254740991, 2\] has no whole number of bytes below 2\^53/,
  ],
  [
    "F64",
    "[4503599627370496]",
    4,
    "bad-shape",
    /F64 \[4503599627370496\] has no whole number of bytes below 2\^53/,
  ],
  ["F32", `[${times(31, "9007199254740991,")}2]`, 4, "bad-shape", /has no whole number of bytes below 2\^53/],
];

const tensor = (name: string, begin: number, end: number) =>
  `"${name}":{"dtype":"U8","shape":[${Math.abs(end - begin)}],"data_offsets":[${begin},${end}]}`;

const LAYOUTS: [what: string, header: string, data: number, code: string, says: RegExp][] = [
  [
    "end before begin",
    `{${tensor("a", 8, 4)}}`,
    8,
    "bad-offsets",
    /"a".* data_offsets are \[8, 4\], wanted end >= begin/,
  ],
  [
    "a first begin above 0",
    `{${tensor("a", 4, 8)}}`,
    8,
    "gap",
    /"a".* begins at 4 and leaves a gap .* wanted 0/,
  ],
  [
    "a gap",
    `{${tensor("a", 0, 4)},${tensor("b", 5, 8)}}`,
    8,
    "gap",
    /"b".* begins at 5 and leaves a gap .* wanted 4/,
  ],
  [
    "an overlap",
    `{${tensor("a", 0, 4)},${tensor("b", 3, 8)}}`,
    8,
    "overlap",
    /"b".* begins at 3 and overlaps .* wanted 4/,
  ],
  [
    "the same bytes twice",
    `{${tensor("a", 0, 8)},${tensor("b", 0, 8)}}`,
    8,
    "overlap",
    /"b".* begins at 0 .* wanted 8/,
  ],
  [
    "one tensor within another",
    `{${tensor("a", 0, 8)},${tensor("b", 2, 4)}}`,
    8,
    "overlap",
    /"b".* begins at 2 .* wanted 8/,
  ],
  [
    "an empty tensor within another",
    `{${tensor("a", 0, 8)},${tensor("b", 4, 4)}}`,
    8,
    "overlap",
    /"b".* begins at 4/,
  ],
  [
    "an empty tensor after the end",
    `{${tensor("a", 0, 8)},${tensor("b", 9, 9)}}`,
    8,
    "gap",
    /"b".* begins at 9/,
  ],
  ["data cut short", `{${tensor("a", 0, 8)}}`, 4, "truncated", /"a".* ends at byte 8, the file holds 4/],
  ["no data", `{${tensor("a", 0, 8)}}`, 0, "truncated", /"a".* ends at byte 8, the file holds 0/],
  [
    "data of 2^53 - 1 bytes",
    `{${tensor("a", 0, 2 ** 53 - 1)}}`,
    8,
    "truncated",
    /"a".* ends at byte 9,007,199,254,740,991, the file holds 8/,
  ],
  [
    "data beyond the last tensor",
    `{${tensor("a", 0, 8)}}`,
    9,
    "trailing-data",
    /describes 8 bytes of data, the file holds 9/,
  ],
  ["data without tensors", "{}", 1, "trailing-data", /describes 0 bytes of data, the file holds 1/],
];

const LENGTHS: [what: string, file: Uint8Array, code: string, says: RegExp, note?: RegExp][] = [
  ["an empty file", bytes(), "truncated", /the file holds 0 bytes, wanted at least 8/],
  ["7 bytes", bytes(2, 0, 0, 0, 0, 0, 0), "truncated", /the file holds 7 bytes, wanted at least 8/],
  ["8 zeros", new Uint8Array(8), "header-json", /does not start with \{/],
  [
    "a header cut short",
    rawShard(ONE, 0, 1000n),
    "truncated",
    /header length is 1,000 bytes, the file holds \d\d after it/,
  ],
  [
    "a header longer by one",
    rawShard("{}", 0, 3n),
    "truncated",
    /header length is 3 bytes, the file holds 2 after it/,
  ],
  [
    "a header at the limit",
    rawShard("{}", 0, 100_000_000n),
    "truncated",
    /is 100,000,000 bytes, the file holds 2/,
  ],
  [
    "one byte above the limit",
    rawShard("{}", 0, 100_000_001n),
    "header-too-large",
    /is 100,000,001 bytes, wanted at most 100,000,000/,
  ],
  ["length 2^32", rawShard("{}", 0, 2n ** 32n), "header-too-large", /is 4,294,967,296 bytes/],
  [
    "length 2^53 + 1",
    rawShard("{}", 0, 2n ** 53n + 1n),
    "header-too-large",
    /is 9,007,199,254,740,993 bytes/,
  ],
  ["length 2^63", rawShard("{}", 0, 2n ** 63n), "header-too-large", /is 9,223,372,036,854,775,808 bytes/],
  [
    "length 2^64 - 1",
    rawShard("{}", 0, 2n ** 64n - 1n),
    "header-too-large",
    /is 18,446,744,073,709,551,615 bytes/,
  ],
  [
    "a Git LFS pointer",
    new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"),
    "header-too-large",
    /wanted at most 100,000,000/,
    /git lfs pull/,
  ],
  ["invalid UTF-8", rawShard(bytes(0x7b, 0x22, 0xff, 0x22), 4), "header-json", /it is not valid UTF-8/],
  [
    "an overlong encoding",
    rawShard(bytes(0x7b, 0x22, 0xc0, 0x80, 0x22), 4),
    "header-json",
    /it is not valid UTF-8/,
  ],
  [
    "a surrogate in UTF-8",
    rawShard(bytes(0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22), 4),
    "header-json",
    /not valid UTF-8/,
  ],
  ["a character cut short", rawShard(bytes(0x7b, 0x22, 0xe2, 0x82), 0), "header-json", /not valid UTF-8/],
  [
    "UTF-16",
    rawShard(new Uint8Array(new Uint16Array([0x7b, 0x7d]).buffer)),
    "header-json",
    /wanted a string/,
  ],
];

/** Names that a message must not repeat as they are; each stands in an entry that lacks its data. */
const NAMES: [what: string, name: string, says: RegExp][] = [
  ["an empty name", "", /Cannot read "" in/],
  ["the name __proto__", "__proto__", /"__proto__"/],
  ["the name constructor", "constructor", /"constructor"/],
  ["a name of 10 kB", LONG, /"x{200}…"/],
  ["a name of emoji", "😀".repeat(5000), /"(?:😀){100}…"/u],
  ["an emoji across the cut", `x${"😀".repeat(5000)}`, /"x(?:😀){99}…"/u],
  ["escape sequences", "\u001b[2J\u001b]0;title\u0007", /"\\u001b\[2J\\u001b\]0;title\\u0007"/],
  ["control characters of Latin-1", "a\u009b31mb\u0085c\u007f", /"a\\u009b31mb\\u0085c\\u007f"/],
  ["line feeds", "a\r\nerror: b", /"a\\u000d\\u000aerror: b"/],
  ["marks of direction", "a\u202eb\u2066c\u200bd\u2028e", /"a\\u202eb\\u2066c\\u200bd\\u2028e"/],
];

export const HOSTILE_HEADERS: readonly HostileHeader[] = [
  ...LENGTHS.map(([what, file, code, says, note]) => ({ what, file, code, says, ...(note ? { note } : {}) })),
  ...MALFORMED.map(([what, header, says]) => ({
    what,
    file: rawShard(header, 4),
    code: "header-json",
    says,
  })),
  ...NOT_WHOLE.flatMap((number) =>
    [entry({ shape: `[${number || " "},1]` }), entry({ offsets: `[${number || " "},4]` })].map(
      (header, i) => ({
        what: `the ${i === 0 ? "dimension" : "offset"} ${number || "(nothing)"}`,
        file: rawShard(header, 4),
        code: "header-json",
        says: /found (?:dimension|offset) \S+ of "a", wanted a whole number|found .*, wanted , or \]/,
      }),
    ),
  ),
  ...TYPES.map(([dtype, shape, length, code, says, note]) => ({
    what: `${dtype.slice(0, 20)} ${shape.slice(0, 40)} in ${length} bytes`,
    file: rawShard(entry({ dtype: `"${dtype}"`, shape, offsets: `[0,${length}]` }), length),
    code,
    says: new RegExp(`"a" in .*${says.source}`, "s"),
    ...(note ? { note } : {}),
  })),
  ...LAYOUTS.map(([what, header, data, code, says]) => ({ what, file: rawShard(header, data), code, says })),
  ...NAMES.map(([what, name, says]) => ({
    what,
    file: rawShard(entry({ name: JSON.stringify(name) })),
    code: "truncated",
    says,
  })),
];
