/** How the page asks the server. All answers are data: nothing of them is ever taken as HTML. */
export * from "./models";
export * from "./models_detail";

type Value = string | number | boolean | null | undefined;

/** Parameters of a question; a list repeats the name, null leaves it out. */
export type Query = Record<string, Value | readonly Value[]>;

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** The address of an endpoint, relative to the page: it may be served below a path. */
export function address(endpoint: string, query: Query = {}): string {
  const params = new URLSearchParams();
  for (const [name, given] of Object.entries(query)) {
    for (const one of Array.isArray(given) ? given : [given]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, String(one));
    }
  }
  const text = params.toString();
  return `./api/${endpoint}${text ? `?${text}` : ""}`;
}

interface Flight {
  answer: Promise<unknown>;
  stop: AbortController;
  /** How many wait for it: when nobody does any more, it is called off. */
  waiting: number;
}

/** Questions on their way, by address: several panels that ask the same at once get one answer. */
const flights = new Map<string, Flight>();

/** What the top of the page waits for; a browser has six connections to a server, and the stream holds one. */
const URGENT = new Set(["runs", "stats", "series"]);

/** Asks an endpoint. ApiError holds the server's own sentence, else what we make of it. */
export function get<T>(endpoint: string, query: Query = {}, stop?: AbortSignal): Promise<T> {
  const url = address(endpoint, query);
  let flight = flights.get(url);
  if (!flight) {
    const controller = new AbortController();
    const answer = ask(url, URGENT.has(endpoint) ? "high" : "low", controller.signal);
    flight = { answer, stop: controller, waiting: 0 };
    flights.set(url, flight);
    const landed = () => flights.delete(url);
    answer.then(landed, landed);
  }
  const mine = flight;
  mine.waiting += 1;
  stop?.addEventListener("abort", () => {
    mine.waiting -= 1;
    if (mine.waiting > 0) return;
    // Whoever asks the same from now on asks anew.
    if (flights.get(url) === mine) flights.delete(url);
    mine.stop.abort();
  });
  return mine.answer as Promise<T>;
}

async function ask(url: string, priority: RequestPriority, stop: AbortSignal): Promise<unknown> {
  let answer: Response;
  try {
    answer = await fetch(url, { headers: { accept: "application/json" }, signal: stop, priority });
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new ApiError("The server does not answer.", 0);
  }
  if (answer.ok) return answer.json();
  throw new ApiError(await problem(answer), answer.status);
}

async function problem(answer: Response): Promise<string> {
  try {
    const body = (await answer.json()) as { error?: unknown };
    if (typeof body.error === "string") return body.error;
  } catch {
    // Not one of our answers: its number has to do.
  }
  return answer.status === 401 || answer.status === 403
    ? "This address needs its token: open the link that smartmon dashboard printed."
    : `The server answered ${answer.status}.`;
}
