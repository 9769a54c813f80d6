/**
 * A real Slurm for tests: munged, slurmctld and three slurmd on this host, with folders and ports of their own. It installs
 * nothing. Ends only the processes that it started.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Ends, temporaryFolder } from "../support/temporary-folder.ts";

const PROGRAMS = ["slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "munged", "munge"];
export const NODES: readonly string[] = ["n1", "n2", "n3"];

function isThere(program: string): boolean {
  const places = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"];
  return places.some((place) => existsSync(join(place, program)));
}

/** For `skip` of a test: why there can be no cluster here, or false. */
export function noSlurm(): string | false {
  if (process.platform !== "linux") return "Slurm runs on Linux";
  if (process.getuid?.() !== 0) return "slurmd must be started by root";
  const missing = PROGRAMS.filter((program) => !isThere(program));
  if (missing.length > 0)
    return `not installed: ${missing.join(", ")} (apt-get install slurmctld slurmd munge)`;
  if (spawnSync("runuser", ["-u", "munge", "--", "true"]).status !== 0) return "there is no user munge";
  return false;
}

export interface Cluster {
  /** For whatever talks to it. */
  env: Record<string, string>;
  /** Runs a command of Slurm; throws with what it said unless it succeeds. */
  slurm(program: string, ...args: string[]): string;
  /** Waits until a condition holds; throws with the daemons' logs when it does not for `seconds`. */
  until(condition: () => boolean, what: string, seconds?: number): Promise<void>;
}

/** Ports that nobody listens on at the moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, () => {
      const server = createServer();
      return new Promise<typeof server>((resolve) => server.listen(0, "127.0.0.1", () => resolve(server)));
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

function configuration(folder: string, host: string, ports: readonly number[], socket: string): string {
  const [controller, ...nodes] = ports;
  return `ClusterName=test
SlurmctldHost=${host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=${socket},cred_expire=5
CredType=cred/munge
StateSaveLocation=${folder}/state
SlurmdSpoolDir=${folder}/spool/%n
SlurmctldPidFile=${folder}/run/slurmctld.pid
SlurmdPidFile=${folder}/run/%n.pid
SlurmctldLogFile=${folder}/log/slurmctld.log
SlurmdLogFile=${folder}/log/%n.log
SlurmctldPort=${controller}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=15
KillWait=5
MinJobAge=300
MaxArraySize=8
MaxJobCount=500
SchedulerParameters=sched_interval=1,batch_sched_delay=0
${NODES.map(
  (name, i) =>
    `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${nodes[i]} CPUs=1 RealMemory=500 State=UNKNOWN`,
).join("\n")}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`;
}

/** Starts the daemons and waits until all nodes are idle. */
export async function startCluster(ends: Ends): Promise<Cluster> {
  const folder = temporaryFolder(ends);
  chmodSync(folder, 0o755);
  for (const name of ["state", "run", "log", ...NODES.map((node) => `spool/${node}`)])
    mkdirSync(join(folder, name), { recursive: true });
  const host = hostname().split(".")[0]!;
  const munge = join(folder, "munge");
  spawnSync("install", ["-d", "-o", "munge", "-g", "munge", "-m", "755", munge]);
  const socket = join(munge, "munge.socket");
  // A key of our own: that of the system may be missing, and is nobody's business.
  const key = join(munge, "munge.key");
  writeFileSync(key, randomBytes(1024), { mode: 0o600 });
  spawnSync("chown", ["munge:munge", key]);
  const conf = join(folder, "slurm.conf");
  writeFileSync(conf, configuration(folder, host, await freePorts(1 + NODES.length), socket));
  const env = { SLURM_CONF: conf };
  const path = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`;
  const processes: ChildProcess[] = [];
  const start = (program: string, ...args: string[]) => {
    const child = spawn(program, args, { stdio: "ignore", env: { ...process.env, ...env, PATH: path } });
    processes.unshift(child);
  };
  const slurm = (program: string, ...args: string[]) => {
    const { status, stdout, stderr, error } = spawnSync(program, args, {
      encoding: "utf8",
      env: { ...process.env, ...env, PATH: path },
      timeout: 20_000,
    });
    if (status !== 0) throw new Error(`${program} ${args.join(" ")}: ${error ?? `${status} ${stderr}`}`);
    return stdout;
  };
  const logs = () =>
    ["slurmctld", ...NODES]
      .map((name) => join(folder, "log", `${name}.log`))
      .filter(existsSync)
      .map((file) => readFileSync(file, "utf8").split("\n").slice(-12).join("\n"))
      .join("\n\n");
  const until: Cluster["until"] = async (condition, what, seconds = 20) => {
    const deadline = performance.now() + 1000 * seconds;
    while (!condition()) {
      if (performance.now() > deadline) throw new Error(`waited ${seconds} s in vain for ${what}\n${logs()}`);
      await sleep(100);
    }
  };
  const answers = (program: string, ...args: string[]) => {
    try {
      return slurm(program, ...args);
    } catch {
      return "";
    }
  };
  ends.after(() => {
    // Of a test that failed midway: jobs would outlive the daemons.
    answers("scancel", "--user=root");
    for (let tries = 0; tries < 80 && answers("squeue", "-h").trim() !== ""; tries++)
      spawnSync("sleep", ["0.1"]);
    for (const child of processes) child.kill("SIGTERM");
    spawnSync("sleep", ["0.5"]);
    for (const child of processes) if (child.exitCode === null) child.kill("SIGKILL");
  });
  start(
    ...(["runuser", "-u", "munge", "--", "munged", "--foreground", `--socket=${socket}`] as const),
    ...[
      `--pid-file=${munge}/munged.pid`,
      `--log-file=${munge}/munged.log`,
      `--seed-file=${munge}/munged.seed`,
      `--key-file=${key}`,
    ],
  );
  await until(() => answers("munge", "-n", `--socket=${socket}`) !== "", "munged");
  start("slurmctld", "-D", "-f", conf);
  for (const node of NODES) start("slurmd", "-D", "-f", conf, "-N", node);
  const isIdle = () =>
    answers("sinfo", "-h", "-N", "-o", "%T")
      .trim()
      .split("\n")
      .every((state) => state === "idle");
  await until(isIdle, "three idle nodes");
  return { env, slurm, until };
}
