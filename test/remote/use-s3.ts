/** What tests with an object store of their own have in common. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import type { TestS3 } from "../support/s3/s3-server.ts";
import { filesOf } from "./use-hub.ts";

const NAMES = [
  ...["AWS_ENDPOINT_URL", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"],
  ...["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"],
  ...["CHIMERA_RETRY_MS", "CHIMERA_S3_PART_BYTES", "TMPDIR"],
];

/** In this process and its threads the store is that one; short pauses, small parts, no files of the user's. */
export function useS3(s3: TestS3): void {
  const old = NAMES.map((name) => process.env[name]);
  const home = mkdtempSync(join(tmpdir(), "chimera-s3-"));
  before(() => {
    Object.assign(process.env, s3.env, {
      CHIMERA_RETRY_MS: "5",
      CHIMERA_S3_PART_BYTES: "65536",
      AWS_EC2_METADATA_DISABLED: "true",
      TMPDIR: home,
    });
    process.env.AWS_CONFIG_FILE = join(home, "none");
    process.env.AWS_SHARED_CREDENTIALS_FILE = join(home, "none");
    delete process.env.AWS_PROFILE;
  });
  after(() => {
    rmSync(home, { recursive: true, force: true });
    for (const [i, name] of NAMES.entries()) {
      if (old[i] === undefined) delete process.env[name];
      else process.env[name] = old[i];
    }
  });
}

export function putFolder(
  s3: TestS3,
  folder: string,
  { bucket, prefix }: { bucket: string; prefix: string },
): void {
  for (const [name, bytes] of filesOf(folder)) s3.put(bucket, `${prefix}/${name}`, bytes);
}
