/** The same questions to the engine in Node and to the one of a page. */
import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import type { EngineFault } from "../../src/browser/engine-api.ts";
import { loadModel } from "../../src/library/language-model.ts";
import { gatherOutput, type Output, type OutputEvent } from "../../src/text/output-events.ts";
import { type EngineGlobal, repositoryFile } from "./browser-page.ts";

export const QUESTION: { role: string; content: string }[] = [{ role: "user", content: "What is 17 + 25?" }];

/** A recipe of recipes/mini, lying where a page has its parents beside it. */
export function recipeOf(name: string): { recipe: string; file: string } {
  const recipe = readFileSync(repositoryFile("recipes/mini", name), "utf8");
  return { recipe, file: `/recipes/mini/${name}` };
}

export interface Greedy {
  prompt: { text: string; ids: number[] };
  ids: number[];
  output: Output;
}

/** What Node makes of a model: 40 likeliest ids, and an answer. */
export async function greedyInNode(source: string): Promise<Greedy> {
  const model = await loadModel(source);
  try {
    const text = await model.text();
    const rendered = await text.render(QUESTION);
    const prompt = { text: rendered, ids: text.tokenizer.encode(rendered) };
    const ids: number[] = [];
    for await (const id of model.generateIds(prompt.ids, { maxTokens: 40 })) ids.push(id);
    const events: OutputEvent[] = [];
    for await (const event of model.generate(QUESTION, { temperature: 0, maxTokens: 120 }))
      events.push(event);
    return { prompt, ids, output: gatherOutput(events) };
  } finally {
    await model.dispose();
  }
}

/** The same of the page's engine. */
export function greedyInPage(
  page: Page,
  load: Record<string, unknown>,
): Promise<Greedy & { threads: number; streamed: Pick<Output, "reasoning" | "content"> }> {
  return page.evaluate(
    async ({ load, messages }) => {
      const { engine } = globalThis as unknown as EngineGlobal;
      const { model, threads } = await engine.request("load", load as { location: string });
      const prompt = await engine.request("prompt", { model, messages });
      const ids = await engine.request("generateIds", { model, ids: prompt.ids, maxTokens: 40 });
      const streamed = { reasoning: "", content: "" };
      const { output } = await engine.request(
        "generate",
        { model, messages, temperature: 0, maxTokens: 120 },
        {
          onEvent: (event) => {
            if (event.kind === "reasoning" || event.kind === "content") streamed[event.kind] += event.text;
          },
        },
      );
      await engine.request("dispose", { model });
      return { prompt, ids, output, threads, streamed };
    },
    { load, messages: QUESTION },
  );
}

/** Runs a request that must fail, and gives what came of it as plain data. */
export function faultInPage(page: Page, name: string, params: unknown): Promise<EngineFault> {
  return page.evaluate(
    async ({ name, params }) => {
      const { engine } = globalThis as unknown as EngineGlobal;
      try {
        await engine.request(name as "inspect", params as { location: string });
      } catch (error) {
        const { name, message, code, note, problems } = error as EngineFault;
        return { name, message, code, note, problems } as EngineFault;
      }
      throw new Error("nothing was thrown");
    },
    { name, params },
  );
}
