/**
 * News as it comes. The browser reconnects by itself and says which event it saw last; when it gives up
 * (the server answered with an error), we begin anew from there, so that nothing is missed.
 */
import { batch, signal } from "@preact/signals";

import { address, type Event, type Update } from "./api";
import { currentRun, daemon, lastEventId, loadRuns, loadStats, news, newsOf, ordered, run, runCount, runs } from "./store";

/** `connecting` at first, `connected`, `lost` once an open stream broke. */
export const connection = signal<"connecting" | "connected" | "lost">("connecting");
export const lostAt = signal<number | null>(null);
/** The last batch of events, oldest first, of any run. */
export const latestEvents = signal<Event[]>([]);

const RETRY_MOST = 15_000;
/** Silent for so long, the stream is asked after: a machine that slept has a dead one without knowing. */
const SILENCE = 30_000;

const PACE = 1000;

let source: EventSource | null = null;
let retry = 0;
let timer = 0;
let heardAt = 0;
let lastId = "";

function heard(): void {
  heardAt = Date.now();
  retry = 0;
  batch(() => {
    connection.value = "connected";
    lostAt.value = null;
  });
}

function broke(): void {
  batch(() => {
    if (connection.peek() !== "lost") lostAt.value = Date.now() / 1000;
    connection.value = "lost";
  });
}

/** Everything that is shown, asked again. */
function refresh(): void {
  void loadRuns();
  void loadStats();
  news.value += 1;
}

let waiting = 0;
let askedAt = 0;

/** The numbers of the run again, at most once a second however many updates come. */
function soon(): void {
  if (waiting) return;
  const pause = Math.max(0, askedAt + PACE - Date.now());
  waiting = window.setTimeout(() => {
    waiting = 0;
    askedAt = Date.now();
    void loadStats();
    news.value += 1;
  }, pause);
}

function take(update: Update): void {
  batch(() => {
    daemon.value = update.daemon;
    lastEventId.value = update.last_event_id;
    currentRun.value = update.current;
    if (update.runs.length) {
      const moved = new Set(update.runs.map((card) => card.run));
      runs.value = ordered([...update.runs, ...(runs.peek() ?? []).filter((card) => !moved.has(card.run))]);
      runCount.value = Math.max(runCount.peek(), runs.peek()?.length ?? 0);
    }
    if (update.events.length) latestEvents.value = update.events;
  });
  const mine = run.peek();
  newsOf(update);
  if (update.more || update.runs.some((card) => card.run === mine) || update.events.some((event) => event.run === mine)) {
    // Nobody looks at a hidden page: it asks for everything when it is shown again.
    if (!document.hidden) soon();
  }
}

function open(): void {
  source?.close();
  clearTimeout(timer);
  const stream = new EventSource(address("stream", { last_event_id: lastId || lastEventId.peek() }));
  source = stream;
  heardAt = Date.now();
  stream.onopen = () => {
    const regained = connection.peek() === "lost";
    heard();
    if (regained) refresh();
  };
  stream.addEventListener("update", (message) => {
    heard();
    lastId = message.lastEventId || lastId;
    take(JSON.parse(message.data) as Update);
  });
  stream.onerror = () => {
    if (source !== stream) return;
    broke();
    if (stream.readyState === EventSource.CLOSED) {
      retry = Math.min(RETRY_MOST, retry ? retry * 2 : 1000);
      timer = window.setTimeout(open, retry);
    }
  };
}

async function askAfter(): Promise<void> {
  if (connection.peek() !== "connected" || Date.now() - heardAt < SILENCE) return;
  heardAt = Date.now();
  try {
    await fetch("./health", { signal: AbortSignal.timeout(5000) });
  } catch {
    broke();
    open();
  }
}

export function startLive(): void {
  open();
  setInterval(() => void askAfter(), 5000);
  addEventListener("online", open);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") refresh();
  });
}
