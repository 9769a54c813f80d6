/** deploy/Dockerfile, played without Docker: what it copies is there, and is enough to run. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { temporaryFolder } from "../support/temporary-folder.ts";

interface Copy {
  sources: string[];
  target: string;
  isCompiled: boolean;
}

/** COPY lines of the last stage. */
function copies(): Copy[] {
  const last = readFileSync("deploy/Dockerfile", "utf8")
    .split(/^FROM /m)
    .at(-1)!;
  return [...last.matchAll(/^COPY (--from=compiled )?(.+)$/gm)].map(([, from, words]) => {
    const paths = words!.split(" ");
    return { sources: paths.slice(0, -1), target: paths.at(-1)!, isCompiled: from !== undefined };
  });
}

test("the image has what it runs: chimera builds a child from what the last stage copies", (t) => {
  const image = join(temporaryFolder(t), "opt", "chimera");
  mkdirSync(image, { recursive: true });
  for (const { sources, target, isCompiled } of copies())
    for (const source of sources) {
      const path = isCompiled ? source.replace(/^\/src\//, "") : source;
      assert.ok(existsSync(path), `${path} is not there`);
      // The folder of a build under test may lie elsewhere; names of single files stay.
      const isInto = target.endsWith("/");
      cpSync(path, isInto ? join(image, target, path) : join(image, target), { recursive: true });
    }
  // Instead of npm ci --omit=dev: the packages that the lock file does not call "dev", as links.
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as {
    packages: Record<string, { dev?: boolean; optional?: boolean }>;
  };
  for (const [path, { dev, optional }] of Object.entries(packages)) {
    if (!path.startsWith("node_modules/") || dev || (optional && !existsSync(path))) continue;
    if (path.indexOf("node_modules/", 1) > 0) continue;
    mkdirSync(join(image, path, ".."), { recursive: true });
    symlinkSync(resolve(path), join(image, path));
  }
  const child = join(image, "..", "child");
  const parents = ["v3", "r1"].flatMap((name) => ["--parent", `${name}=${resolve(`models/mini-${name}`)}`]);
  const { status, stderr } = spawnSync(
    process.execPath,
    ["bin/chimera.mjs", "build", "recipes/mini/r1t.yaml", "-o", child, ...parents],
    { cwd: image, encoding: "utf8" },
  );
  assert.equal(status, 0, stderr);
  assert.ok(existsSync(join(child, "chimera.json")));
});
