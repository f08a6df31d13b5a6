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

/** Asks an endpoint. ApiError holds the server's own sentence, else what we make of it. */
export async function get<T>(endpoint: string, query: Query = {}, stop?: AbortSignal): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(address(endpoint, query), { headers: { accept: "application/json" }, signal: stop ?? null });
  } catch (error) {
    if ((error as Error).name === "AbortError") throw error;
    throw new ApiError("The server does not answer.", 0);
  }
  if (answer.ok) return (await answer.json()) as T;
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
