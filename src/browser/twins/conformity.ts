/**
 * Holds the twins to the modules that they stand in for: what they export must be usable in their place. Types only;
 * a twin may leave out what a page never asks for, and a bundle that asks for it is not made.
 */
import type * as pool from "../../build/pool.ts";
import type * as lock from "../../checkpoint/lock.ts";
import type * as node from "../../checkpoint/node.ts";
import type * as stopping from "../../checkpoint/stopping.ts";
import type * as stores from "../../checkpoint/stores.ts";
import type * as importWeights from "../../logical/import-weights.ts";
import type { RankCrew } from "../../runtime/rank-crew.ts";
import type * as relaxedSimd from "../../runtime/relaxed-simd.ts";
import type * as comparePool from "../../survey/compare-pool.ts";
import type { TemplateThread } from "../../text/template-thread.ts";
import type * as poolTwin from "./build/pool.ts";
import type * as lockTwin from "./checkpoint/lock.ts";
import type * as nodeTwin from "./checkpoint/node.ts";
import type * as stoppingTwin from "./checkpoint/stopping.ts";
import type * as storesTwin from "./checkpoint/stores.ts";
import type * as importWeightsTwin from "./logical/import-weights.ts";
import type { RankCrew as RankCrewTwin } from "./runtime/rank-crew.ts";
import type * as relaxedSimdTwin from "./runtime/relaxed-simd.ts";
import type * as comparePoolTwin from "./survey/compare-pool.ts";
import type { TemplateThread as TemplateThreadTwin } from "./text/template-thread.ts";

/** Fails to compile where the second cannot be used as the first. */
type StandsIn<Original, _Twin extends Original> = true;
/** What a module must give at least: what the twin has of it. */
type Part<Original, Twin> = Pick<Original, keyof Original & keyof Twin>;
/** Without private parts, which make classes of one shape different types. */
type Public<Instance> = Pick<Instance, keyof Instance>;

export type Conformity = [
  StandsIn<Part<typeof pool, typeof poolTwin>, typeof poolTwin>,
  StandsIn<Part<typeof lock, typeof lockTwin>, typeof lockTwin>,
  StandsIn<Part<typeof node, typeof nodeTwin>, typeof nodeTwin>,
  StandsIn<Part<typeof stopping, typeof stoppingTwin>, typeof stoppingTwin>,
  StandsIn<typeof stores, typeof storesTwin>,
  StandsIn<typeof importWeights, typeof importWeightsTwin>,
  StandsIn<typeof relaxedSimd, typeof relaxedSimdTwin>,
  StandsIn<Part<typeof comparePool, typeof comparePoolTwin>, typeof comparePoolTwin>,
  StandsIn<Public<RankCrew>, Public<RankCrewTwin>>,
  StandsIn<ConstructorParameters<typeof RankCrewTwin>, ConstructorParameters<typeof RankCrew>>,
  StandsIn<Public<TemplateThread>, Public<TemplateThreadTwin>>,
];
