/**
 * Everything that pages ask for. Pages know this interface and nothing behind it: a server (http-engine.ts), or an engine in
 * the browser. What an engine cannot do is told by its StudioInfo: no `builds`, no runs.
 */
import type {
  BuildState,
  CheckpointEntry,
  CompareReport,
  CompareRequest,
  CompareStep,
  ErrorBody,
  FileNames,
  InspectReport,
  NewChild,
  Planning,
  RecipeForm,
  RecipeReading,
  RecipeWords,
  RecordPage,
  RunDetails,
  RunsList,
  StudioInfo,
  StudyDetails,
  TemplateRequest,
  TensorPage,
} from "../server/api.ts";

export interface TensorQuery {
  search?: string;
  role?: string;
  dtype?: string;
  layer?: string;
  offset: number;
  limit: number;
}

export interface RecordQuery {
  offset: number;
  limit: number;
  topic?: string;
  task?: string;
  only?: string;
}

export interface ChatMessage {
  role: "system" | "user" | "assistant";
  content: string;
}

export interface ChatAsking {
  model: string;
  messages: ChatMessage[];
  temperature?: number;
  seed?: number;
  maxTokens?: number;
}

/** What comes while a model answers. */
export interface ChatDelta {
  content?: string;
  reasoning?: string;
}

export interface ChatEnd {
  finish: string;
  tokens?: number;
  thinkingTokens?: number;
  promptTokens?: number;
  tokensPerSecond?: number;
  /** From asking to the first token, waiting included. */
  firstTokenMs?: number;
}

export interface StudioEngine {
  info(): Promise<StudioInfo>;
  checkpoints(): Promise<CheckpointEntry[]>;
  inspect(id: string): Promise<InspectReport>;
  tensors(id: string, query: TensorQuery): Promise<TensorPage>;
  fileNames(id: string): Promise<FileNames>;
  fileText(id: string, name: string): Promise<string>;
  /** `onStep` gets what comes before the report. */
  compare(
    request: CompareRequest,
    options: { onStep: (step: CompareStep) => void; signal: AbortSignal },
  ): Promise<CompareReport>;

  recipeWords(): Promise<RecipeWords>;
  readRecipe(recipe: string): Promise<RecipeReading>;
  writeRecipe(form: RecipeForm): Promise<string>;
  recipeTemplate(request: TemplateRequest): Promise<string>;
  plan(recipe: string): Promise<Planning>;

  builds(): Promise<BuildState[]>;
  startBuild(name: string, recipe: string): Promise<BuildState>;
  /** Calls `onState` at once and whenever it changes; ends with the build. */
  watchBuild(
    id: string,
    options: { onState: (state: BuildState) => void; signal: AbortSignal },
  ): Promise<void>;
  pauseBuild(id: string): Promise<BuildState>;
  resumeBuild(id: string): Promise<BuildState>;
  removeBuild(id: string): Promise<BuildState>;

  /** A virtual child; one of this name that was made here is replaced. */
  makeChild(child: NewChild): Promise<CheckpointEntry>;
  removeChild(name: string): Promise<void>;

  /** Resolves at the end of the answer; rejects with AbortError when the signal fires. */
  chat(
    asking: ChatAsking,
    options: { onDelta: (delta: ChatDelta) => void; signal: AbortSignal },
  ): Promise<ChatEnd>;

  runs(): Promise<RunsList>;
  run(id: string): Promise<RunDetails>;
  records(id: string, query: RecordQuery): Promise<RecordPage>;
  study(id: string): Promise<StudyDetails>;
  studyFile(id: string, name: string): Promise<Blob>;
}

/** What an engine could not do, with its note and its problems. */
export class EngineError extends Error {
  override name = "EngineError";
  readonly details: ErrorBody["error"];

  constructor(details: ErrorBody["error"]) {
    super(details.message);
    this.details = details;
  }
}
