/** A look at what the model answers, as its file told it: any field may be missing, and none is believed unseen. */
import { compareWords, summed, type Comparison, type Place, type Verdict } from "./words";

export interface Message {
  role: string;
  content: string;
}

export interface Look {
  /** The record as it came, to be saved. */
  raw: Readonly<Record<string, unknown>>;
  step: number | null;
  messages: Message[];
  golden: string;
  predicted: string;
  generating: boolean;
  comparison: Comparison;
  /** The same for looks that asked the same. */
  prompt: string;
  /** Name and value of what else is known, in the order in which it is shown. */
  facts: [string, unknown][];
  error: string;
}

const VERDICTS: readonly string[] = ["match", "mismatch", "missing", "extra"] satisfies Verdict[];
const FACTS: readonly [string, string][] = [
  ["epoch", "epoch"],
  ["train_loss", "training loss"],
  ["eval_loss", "evaluation loss"],
  ["golden_loss", "loss of the golden answer"],
  ["golden_accuracy", "tokens foreseen, %"],
  ["learning_rate", "learning rate"],
  ["sample_idx", "sample"],
  ["samples", "samples in all"],
  ["row", "row of the data"],
  ["exact", "exactly the golden answer"],
  ["ended", "ended by"],
  ["seconds", "seconds taken"],
  ["gpu_memory", "GPU memory"],
  ["timestamp", "written"],
];

/** Read one record. */
export function readLook(raw: Readonly<Record<string, unknown>>): Look {
  const messages = conversation(raw);
  const golden = text(raw["golden"]) || text(raw["golden_answer"]);
  const predicted = text(raw["predicted"]) || text(raw["model_answer"]) || text(raw["model_output"]);
  const generating = raw["generating"] === true;
  const places = tokens(raw["tokens"]);
  const facts = FACTS.filter(([key]) => raw[key] !== undefined && raw[key] !== null && typeof raw[key] !== "object");
  return {
    raw,
    step: whole(raw["step"]) ?? whole(raw["current_step"]),
    messages,
    golden,
    predicted,
    generating,
    comparison: places.length > 0 ? summed(places, "tokens") : compareWords(golden, predicted, !generating),
    prompt: JSON.stringify(messages.filter((message) => message.role !== "assistant")),
    facts: facts.map(([key, name]) => [name, raw[key]]),
    error: text(raw["error"]),
  };
}

/** Looks that asked the same as one, the newest first. */
export function asking(looks: readonly Look[], one: Look): Look[] {
  return looks.filter((look) => look.prompt === one.prompt);
}

function conversation(raw: Readonly<Record<string, unknown>>): Message[] {
  const prompt = raw["prompt"];
  if (isObject(prompt) && Array.isArray(prompt["messages"])) {
    return prompt["messages"].filter(isObject).map((one) => ({ role: text(one["role"]), content: text(one["content"]) }));
  }
  const system = text(raw["current_system_prompt"]);
  const asked = isObject(prompt) ? text(prompt["text"]) : text(prompt) || text(raw["current_prompt"]) || text(raw["input"]);
  const told = [
    { role: "system", content: system },
    { role: "user", content: asked },
  ];
  return told.filter((message) => message.content !== "");
}

function tokens(told: unknown): Place[] {
  if (!Array.isArray(told)) return [];
  return told.filter(isObject).flatMap((one) => {
    const verdict = text(one["verdict"]);
    if (!VERDICTS.includes(verdict)) return [];
    return [{ golden: maybe(one["golden"]), predicted: maybe(one["predicted"]), verdict: verdict as Verdict }];
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Messages may come in parts, each with a text. */
function text(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return value.map((part) => (isObject(part) ? text(part["text"]) : text(part))).join("");
  return "";
}

function maybe(value: unknown): string | null {
  return value === null || value === undefined ? null : text(value);
}

function whole(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}
