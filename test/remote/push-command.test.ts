/** chimera push as a command: what it prints, how it ends, and what it says of each refusal. */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { callMain } from "../cli/run-main.ts";
import type { Fault, LoggedRequest } from "../support/hub/faults.ts";
import { TestHub } from "../support/hub/hub-server.ts";
import { filesOf, useHub } from "./use-hub.ts";

const isCommit = ({ method, path }: LoggedRequest) => method === "POST" && /\/commit\//.test(path);

describe("chimera push", () => {
  const hub = new TestHub({ lfsBytes: 1 << 16 });
  before(() => hub.start());
  after(() => hub.stop());
  useHub(hub);
  beforeEach(() => {
    hub.rules = [];
    hub.forget();
  });
  const run = (args: readonly string[], env: Record<string, string> = { HF_TOKEN: "hf_test" }) =>
    callMain(["push", "models/mini-r1", ...args], env);

  test("tells what it did, as JSON too", async () => {
    const told = await run(["chimera/told"]);
    assert.deepEqual([told.status, told.stderr.includes("error")], [0, false]);
    assert.match(told.stdout, /^pushed {2}http:.*\/chimera\/told: \d+ files \(.* in .*\) in 1 commits\n$/);
    const { status, stdout } = await run(["chimera/told", "--json"]);
    const report = JSON.parse(stdout);
    assert.deepEqual([status, report.schemaVersion, report.uploaded.files, report.commits], [0, 1, [], []]);
    const dry = await run(["chimera/dry", "--dry-run"]);
    assert.match(dry.stdout, /would be made[\s\S]*Dry run: nothing was uploaded\./);
  });

  const refused: [string, readonly string[], Record<string, string>, number, RegExp][] = [
    [
      "no token",
      ["chimera/x"],
      {},
      3,
      /there is no token, wanted one that may write there\n {2}note: Set HF_TOKEN/,
    ],
    [
      "a wrong token",
      ["chimera/x"],
      { HF_TOKEN: "hf_wrong" },
      3,
      /the token is not taken\n {2}note: Is HF_TOKEN whole/,
    ],
    ["no name", ["x"], { HF_TOKEN: "hf_test" }, 2, /it names no repository, wanted ORG\/NAME/],
    ["a revision", ["chimera/x@main"], { HF_TOKEN: "hf_test" }, 2, /wanted ORG\/NAME/],
    ["both branch and request", ["chimera/x", "--branch", "b", "--create-pr"], {}, 2, /cannot be used with/],
    [
      "a run that is none",
      ["chimera/x", "--results", "models"],
      { HF_TOKEN: "hf_test" },
      3,
      /it has no config.json|wanted a run/,
    ],
  ];
  for (const [what, args, env, wanted, message] of refused) {
    test(`${what}: says so and writes nothing`, async () => {
      const { status, stderr } = await run(args, env);
      assert.match(stderr, message);
      assert.equal(status, wanted, stderr);
      assert.deepEqual(
        hub.log.filter(({ method }) => method !== "GET"),
        [],
      );
    });
  }

  const answers: [string, (request: LoggedRequest) => boolean, Fault, number, RegExp][] = [
    [
      "an HTML page from the start",
      () => true,
      { kind: "status", status: 200, headers: { "content-type": "text/html" }, body: "<html>Log in</html>" },
      3,
      /what is no JSON, wanted the Hub's API\n {2}note: HF_ENDPOINT/,
    ],
    [
      "an HTML page at the commit",
      isCommit,
      { kind: "status", status: 200, headers: { "content-type": "text/html" }, body: "<html>Log in</html>" },
      3,
      /what is no JSON, wanted the Hub's API/,
    ],
    [
      "403 at the first upload",
      ({ path }) => path.includes("/preupload/"),
      {
        kind: "status",
        status: 403,
        headers: { "content-type": "application/json" },
        body: '{"error":"You need write access"}',
      },
      3,
      /the token may not write there \(You need write access\)\n {2}note: Make a token/,
    ],
    [
      "403 when the repository is made",
      ({ path }) => path === "/api/repos/create",
      { kind: "status", status: 403, body: "<html>no</html>" },
      3,
      /the token may not write there\n/,
    ],
    [
      "503 without end",
      isCommit,
      { kind: "status", status: 503 },
      75,
      /the Hub says 503\n {2}note: Run the same command again later/,
    ],
  ];
  for (const [what, matches, fault, wanted, message] of answers) {
    test(`${what}: says so and commits nothing`, async () => {
      const name = `chimera/answers-${wanted}-${what.replaceAll(/\W+/g, "-")}`;
      hub.rules = [(request) => (matches(request) ? fault : undefined)];
      const { status, stderr } = await run([name, "--progress", "none"]);
      assert.match(stderr, message);
      assert.equal(stderr.includes("<html>"), false);
      assert.equal(status, wanted, stderr);
      assert.deepEqual([...(hub.repos.get(name)?.files.keys() ?? [".gitattributes"])], [".gitattributes"]);
    });
  }

  test("a repository that this token may not see: says so", async () => {
    hub.add("secret/hidden", filesOf("models/mini-r1"), { isPrivate: true });
    const hides = ({ path }: LoggedRequest) => path.startsWith("/api/models/secret/hidden");
    const fault: Fault = { kind: "status", status: 404, headers: { "x-error-code": "RepoNotFound" } };
    hub.rules = [(request) => (hides(request) ? fault : undefined)];
    const { status, stderr } = await run(["secret/hidden"]);
    assert.equal(status, 3);
    assert.match(
      stderr,
      /Cannot push to "secret\/hidden": there is no such repository or branch, or it is private/,
    );
    assert.equal(hub.repos.get("secret/hidden")!.messages.length, 1);
  });

  test("a private repository of others looks as if it were not there", async () => {
    hub.add("secret/model", filesOf("models/mini-r1"), { isPrivate: true });
    const { status, stderr } = await run(["secret/model"], { HF_TOKEN: "hf_other" });
    assert.equal(status, 3);
    assert.match(stderr, /Cannot push to "secret\/model": the token is not taken/);
  });
});
