import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileGlob } from "../../src/recipe/glob.ts";

const NAME = "model.layers.12.mlp.experts.3.gate_proj.weight";

test("compileGlob() matches whole names", () => {
  const cases: [glob: string, name: string, expected: boolean][] = [
    [NAME, NAME, true],
    ["*", NAME, true],
    ["*", "", true],
    ["?", "", false],
    ["layers", NAME, false],
    ["*layers*", NAME, true],
    ["*.experts.*", NAME, true],
    ["model.*.weight", NAME, true],
    ["model.*.bias", NAME, false],
    ["model.layers.?.mlp*", NAME, false],
    ["model.layers.??.mlp*", NAME, true],
    ["*.layers.1[0-5].*", NAME, true],
    ["*.layers.1[!0-5].*", NAME, false],
    ["*.layers.1[!a-].*", NAME, true],
    ["*.{gate,up}_proj.weight", NAME, true],
    ["*.{up,down}_proj.weight", NAME, false],
    ["*.{up,{ga,x}te}_proj.weight", NAME, true],
    ["{,model.}layers", "layers", true],
    ["{,model.}layers", "model.layers", true],
    ["{,model.}layers", "mode.layers", false],
    ["a,b", "a,b", true],
    ["a\\*", "a\\b", true],
    ["a.b", "axb", false],
    ["(a|b)+$", "(a|b)+$", true],
    ["[*?]", "*", true],
    ["[*?]", "x", false],
  ];
  for (const [glob, name, expected] of cases) {
    assert.equal(compileGlob(glob).matches(name), expected, `${glob} on ${name}`);
  }
});

test("compileGlob() says what is wrong", () => {
  const cases: [glob: string, message: string][] = [
    ["", "it is empty, wanted a pattern"],
    ["a[bc", 'it has "[" without "]", wanted pairs'],
    ["a]", 'it has "]" without an opening bracket, wanted pairs'],
    ["{a,b", 'it has "{" without "}", wanted pairs'],
    ["{a,{b}", 'it has "{" without "}", wanted pairs'],
    ["a}", 'it has "}" without an opening bracket, wanted pairs'],
    ["[]", 'it has an empty "[]", wanted characters in it'],
    ["[!]", 'it has an empty "[]", wanted characters in it'],
    ["[9-0]", 'its class "[9-0]" runs backwards, wanted the lower character first'],
    ["a".repeat(1001), "it has 1001 characters, wanted at most 1000"],
  ];
  for (const [glob, message] of cases) assert.throws(() => compileGlob(glob), new RangeError(message), glob);
});

test("compileGlob() takes under 2 s for hostile globs on 10 kB", () => {
  const name = "a".repeat(10_000);
  const globs = ["*a*a*a*a*a*b", `${"*".repeat(999)}b`, `${"*a".repeat(499)}b`, `${"{a,*}".repeat(199)}b`];
  for (const glob of [...globs, `${"{".repeat(400)}*${"}".repeat(400)}b`]) {
    const compiled = compileGlob(glob);
    const start = performance.now();
    assert.equal(compiled.matches(name), false, glob);
    const elapsedMs = performance.now() - start;
    assert.ok(elapsedMs < 2000, `${elapsedMs} ms for ${glob.slice(0, 40)}`);
    assert.equal(compiled.matches(`${name}b`), true, glob);
  }
});

test("compileGlob() agrees with a matcher written from the definition", () => {
  // By backtracking over the tokens of the glob; exponential, so only for short ones.
  const matches = (glob: string[], name: string): boolean => {
    const [token, ...rest] = glob;
    if (token === undefined) return name === "";
    if (token === "*") return matches(rest, name) || (name !== "" && matches(glob, name.slice(1)));
    if (token.startsWith("{")) {
      return token
        .slice(1, -1)
        .split(",")
        .some((word) => name.startsWith(word) && matches(rest, name.slice(word.length)));
    }
    if (name === "") return false;
    const isOne = token === "?" || (token.startsWith("[") ? token.includes(name[0]!) : token === name[0]);
    return isOne && matches(rest, name.slice(1));
  };
  const token = fc.constantFrom("a", "b", "*", "?", "[ab]", "[b]", "{a,bb}", "{,ab,b}");
  const name = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 8 });
  fc.assert(
    fc.property(fc.array(token, { minLength: 1, maxLength: 6 }), name, (glob, text) => {
      assert.equal(compileGlob(glob.join("")).matches(text), matches(glob, text));
    }),
    { seed: 20250614, numRuns: 3000 },
  );
});
