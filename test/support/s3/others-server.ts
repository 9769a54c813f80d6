/**
 * An object store of somebody else's make: the one at CHIMERA_TEST_S3, or a `minio` or `moto_server` that is installed
 * here and is started for the test. Without any the test is left out.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";

const KEYS = { AWS_ACCESS_KEY_ID: "chimeratest", AWS_SECRET_ACCESS_KEY: "chimera-test-secret" };

function onPath(name: string): string | undefined {
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // the next folder
    }
  }
  return undefined;
}

/** Why there is none; undefined where there is one. */
export function noOtherS3(): string | undefined {
  if (process.env.CHIMERA_TEST_S3 || onPath("minio") || onPath("moto_server")) return undefined;
  return "neither minio nor moto_server is installed, and CHIMERA_TEST_S3 names no store";
}

export interface OtherS3 {
  endpoint: string;
  /** Ends the process, where one was started. */
  stop(): void;
}

/** When it answers. `folder`: where it may keep what it gets. Sets the keys of one that is started here. */
export async function startOtherS3(folder: string): Promise<OtherS3> {
  if (process.env.CHIMERA_TEST_S3) return { endpoint: process.env.CHIMERA_TEST_S3, stop: () => {} };
  const port = await freePort();
  const minio = onPath("minio");
  const [program, args] = minio
    ? [minio, ["server", folder, "--address", `127.0.0.1:${port}`]]
    : [onPath("moto_server")!, ["-H", "127.0.0.1", "-p", String(port)]];
  const old = { ...process.env };
  Object.assign(process.env, KEYS);
  const env = {
    ...process.env,
    MINIO_ROOT_USER: KEYS.AWS_ACCESS_KEY_ID,
    MINIO_ROOT_PASSWORD: KEYS.AWS_SECRET_ACCESS_KEY,
  };
  const server = spawn(program, args, { env, stdio: "ignore" });
  const stop = () => {
    server.kill();
    for (const name of Object.keys(KEYS)) {
      if (old[name] === undefined) delete process.env[name];
      else process.env[name] = old[name];
    }
  };
  const endpoint = `http://127.0.0.1:${port}`;
  await answers(endpoint, server).catch((error) => {
    stop();
    throw error;
  });
  return { endpoint, stop };
}

/** Nobody listens there at this moment; neither program takes port 0 and tells which it got. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(endpoint: string, server: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    if (server.exitCode !== null) throw new Error(`${server.spawnfile} ended with ${server.exitCode}`);
    if (
      await fetch(endpoint).then(
        () => true,
        () => false,
      )
    )
      return;
    await new Promise((resume) => setTimeout(resume, 100));
  }
  throw new Error(`${server.spawnfile} does not answer at ${endpoint}`);
}
