/** Folders as they should not be: each gives a CheckpointError that names the path, none hangs. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { CheckpointError } from "../../src/base/errors.ts";
import { openCheckpoint, openWholeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { INDEX_NAME } from "../../src/checkpoint/shard-index.ts";
import { openLocation, openStore } from "../../src/checkpoint/stores.ts";
import { type TestShard, writeCheckpoint } from "../support/safetensors.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const tensors = [{ name: "a", dtype: "F32" as const, shape: [1], bytes: new Uint8Array(4) }];
const ONE: TestShard = { name: "model.safetensors", tensors };

interface HostileFolder {
  what: string;
  /** Puts into an empty folder what is to be opened; returns its path. */
  make(folder: string): string;
  code: string;
  says: RegExp;
}

const withConfig = (config: string | Uint8Array) => (folder: string) =>
  writeCheckpoint(folder, { shards: [ONE], files: { "config.json": config } });

const FOLDERS: HostileFolder[] = [
  {
    what: "a folder that is not there",
    make: (folder) => join(folder, "x"),
    code: "missing",
    says: /\/x": there is no such file or folder/,
  },
  {
    what: "an empty folder",
    make: (folder) => folder,
    code: "missing",
    says: /it holds no \.safetensors file/,
  },
  {
    what: "a folder of folders",
    make: (folder) => {
      mkdirSync(join(folder, "model.safetensors"));
      return folder;
    },
    code: "missing",
    says: /it holds no \.safetensors file/,
  },
  {
    what: "a path through a file",
    make: (folder) => {
      writeFileSync(join(folder, "x"), "");
      return join(folder, "x", "y");
    },
    code: "missing",
    says: /x\/y": there is no such/,
  },
  {
    what: "a path with a NUL",
    make: (folder) => `${folder}\0`,
    code: "read-failed",
    says: /\\u0000": .*null bytes/,
  },
  {
    what: "a path of 5000 characters",
    make: (folder) => join(folder, "x".repeat(5000)),
    code: "read-failed",
    says: /ENAMETOOLONG/,
  },
  {
    what: "a link in a circle",
    make: (folder) => {
      symlinkSync("loop", join(folder, "loop"));
      return join(folder, "loop");
    },
    code: "read-failed",
    says: /loop": ELOOP/,
  },
  {
    what: "a dangling link",
    make: (folder) => {
      symlinkSync("nowhere", join(folder, "link"));
      return join(folder, "link");
    },
    code: "missing",
    says: /link": there is no such/,
  },
  { what: "an empty path", make: () => "", code: "missing", says: /Cannot open "": it is empty/ },
  {
    what: "an address",
    make: () => "gs://deepseek-ai/DeepSeek-R1",
    code: "unknown-scheme",
    says: /"gs:" is not known, wanted a folder/,
  },
  {
    what: "an address with escape sequences",
    make: () => "s3:\u001b[2J",
    code: "bad-url",
    says: /"s3:\\u001b\[2J"/,
  },
  {
    what: "a config.json that is no JSON",
    make: withConfig("{'a': 1}"),
    code: "config-json",
    says: /config\.json": found "'a': 1}", wanted a string/,
  },
  {
    what: "a config.json that is a list",
    make: withConfig("[1]"),
    code: "config-json",
    says: /config\.json": found "\[1\]", wanted \{/,
  },
  {
    what: "a config.json that is null",
    make: withConfig("null"),
    code: "config-json",
    says: /found "null", wanted \{/,
  },
  {
    what: "an empty config.json",
    make: withConfig(""),
    code: "config-json",
    says: /found the end of the text/,
  },
  {
    what: "a config.json with a comma at the end",
    make: withConfig('{"a":1,}'),
    code: "config-json",
    says: /wanted a string/,
  },
  {
    what: "a config.json with a key twice",
    make: withConfig('{"a":1,"a":2}'),
    code: "config-json",
    says: /found "a" twice/,
  },
  {
    what: "a config.json with Infinity",
    make: withConfig('{"a":Infinity}'),
    code: "config-json",
    says: /found "Infinity}", wanted a value/,
  },
  {
    what: "a config.json with a byte order mark",
    make: withConfig("\ufeff{}"),
    code: "config-json",
    says: /found "\\ufeff\{}", wanted \{/,
  },
  {
    what: "a config.json that is not UTF-8",
    make: withConfig(Uint8Array.of(0x7b, 0x22, 0xe9, 0x22)),
    code: "config-json",
    says: /it is not valid UTF-8/,
  },
  {
    what: "a config.json with escape sequences",
    make: withConfig("\u001b[2J"),
    code: "config-json",
    says: /found "\\u001b\[2J", wanted \{/,
  },
  {
    what: "a config.json of 1,000,000 lists",
    make: withConfig(`{"a":${"[".repeat(1_000_000)}`),
    code: "config-json",
    says: /nested deeper than 64/,
  },
  {
    what: "a config.json of 10 MB and a byte",
    make: withConfig(new Uint8Array(10_000_001)),
    code: "too-large",
    says: /it holds 10,000,001 bytes, wanted at most 10,000,000/,
  },
  {
    what: "a config.json that is a folder",
    make: (folder) => {
      writeCheckpoint(folder, { shards: [ONE] });
      mkdirSync(join(folder, "config.json"));
      return folder;
    },
    code: "not-a-file",
    says: /config\.json": it is not a file/,
  },
  {
    what: "a config.json that is an endless device",
    make: (folder) => {
      writeCheckpoint(folder, { shards: [ONE] });
      symlinkSync("/dev/zero", join(folder, "config.json"));
      return folder;
    },
    code: "not-a-file",
    says: /config\.json": it is not a file/,
  },
  {
    what: "a config.json that is a pipe",
    make: (folder) => {
      writeCheckpoint(folder, { shards: [ONE] });
      execFileSync("mkfifo", [join(folder, "config.json")]);
      return folder;
    },
    code: "not-a-file",
    says: /config\.json": it is not a file/,
  },
  {
    what: "an index that is no JSON",
    make: (folder) => writeCheckpoint(folder, { shards: [ONE], index: "<html>" }),
    code: "index-json",
    says: /model\.safetensors\.index\.json": found "<html>", wanted \{/,
  },
  {
    what: "an index that is a folder's list of itself",
    make: (folder) =>
      writeCheckpoint(folder, { shards: [ONE], index: '{"weight_map":{"a":"../model.safetensors"}}' }),
    code: "index-path",
    says: /it places "a" in "\.\.\/model\.safetensors"/,
  },
  {
    what: "a shard that is empty",
    make: (folder) => writeCheckpoint(folder, { shards: [], files: { "model.safetensors": "" } }),
    code: "truncated",
    says: /\/model\.safetensors": the file holds 0 bytes/,
  },
  {
    what: "one file that is no shard",
    make: (folder) => {
      writeFileSync(join(folder, "notes.txt"), "These are notes.");
      return join(folder, "notes.txt");
    },
    code: "header-too-large",
    says: /\/notes\.txt": header length is/,
  },
  {
    what: "one .json file that is no index",
    make: (folder) => {
      writeFileSync(join(folder, "x.json"), "{}");
      return join(folder, "x.json");
    },
    code: "index-json",
    says: /x\.json": it has no weight_map/,
  },
];

describe("openCheckpoint() refuses", () => {
  for (const { what, make, code, says } of FOLDERS) {
    test(what, { timeout: 10_000 }, async (t) => {
      const folder = temporaryFolder(t);
      const path = make(folder);
      const began = performance.now();
      const opening = async () => {
        const { store, options } = openLocation(path);
        return openCheckpoint(store, options);
      };
      await assert.rejects(opening(), (error) => {
        assert.ok(error instanceof CheckpointError, String(error));
        assert.equal(error.code, code, error.message);
        assert.match(error.message, says);
        return !/\p{Cc}/u.test(error.message);
      });
      assert.ok(performance.now() - began < 5000);
    });
  }

  test("a file for a folder", async (t) => {
    const folder = temporaryFolder(t);
    writeFileSync(join(folder, "x"), "");
    const store = openStore(join(folder, "x"));
    await assert.rejects(openCheckpoint(store), {
      code: "not-a-folder",
      message: /x": it is not a folder, wanted one/,
    });
  });
});

/** Shards that a listing does not count as files: the index names them, so they are missing. */
const NO_FILES: [what: string, make: (path: string) => void][] = [
  ["a folder", (path) => void mkdirSync(path)],
  ["a dangling link", (path) => symlinkSync("nowhere", path)],
  ["a link in a circle", (path) => symlinkSync("2.safetensors", path)],
  ["a pipe", (path) => void execFileSync("mkfifo", [path])],
  ["a device", (path) => symlinkSync("/dev/zero", path)],
];

describe("a shard that is", () => {
  for (const [what, make] of NO_FILES) {
    test(`${what} is missing`, { timeout: 10_000 }, async (t) => {
      const shards = [
        { name: "1.safetensors", tensors },
        { name: "2.safetensors", tensors: [{ ...tensors[0]!, name: "b" }] },
      ];
      const folder = writeCheckpoint(temporaryFolder(t), { shards });
      rmSync(join(folder, "2.safetensors"));
      make(join(folder, "2.safetensors"));
      const { problems, unread } = await openCheckpoint(openStore(folder));
      assert.deepEqual([problems.map(({ code }) => code), unread], [["missing-shard"], ["b"]]);
      await assert.rejects(openWholeCheckpoint(openStore(folder)), { code: "missing-shard" });
      const code = /folder|pipe|device/.test(what)
        ? "not-a-file"
        : /circle/.test(what)
          ? "read-failed"
          : "missing";
      await assert.rejects(openStore(folder).open("2.safetensors"), { name: "CheckpointError", code });
    });
  }

  test("a link to a file is that file, as in the Hub's cache", async (t) => {
    const folder = temporaryFolder(t);
    writeCheckpoint(join(folder, "blobs"), { shards: [ONE] });
    mkdirSync(join(folder, "snapshot"));
    symlinkSync("../blobs/model.safetensors", join(folder, "snapshot", "model.safetensors"));
    const { tensors, problems } = await openWholeCheckpoint(openStore(join(folder, "snapshot")));
    assert.deepEqual([[...tensors.keys()], problems], [["a"], []]);
  });
});

test("openLocation() of an index alone, or of its folder, tells of the absent shards", async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, INDEX_NAME), '{"weight_map":{"a":"1.safetensors","b":"2.safetensors"}}');
  for (const path of [folder, join(folder, INDEX_NAME)]) {
    const { store, options } = openLocation(path);
    const { problems, unread, tensors, totalSize } = await openCheckpoint(store, options);
    assert.deepEqual(
      problems.map(({ code }) => code),
      ["missing-shard", "missing-shard"],
    );
    assert.deepEqual([unread, tensors.size, totalSize], [["a", "b"], 0, undefined]);
  }
});
