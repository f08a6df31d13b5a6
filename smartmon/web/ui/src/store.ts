/** What the page knows: the runs, the numbers of the run that is looked at, and how it looks at them. */
import { batch, computed, effect, signal } from "@preact/signals";

import { get, type Axis, type Daemon, type RunCard, type Runs, type Stats, type Update } from "./api";
import { route } from "./router";
import { remembered } from "./settings";

export const runs = signal<RunCard[] | null>(null);
/** How many runs there are; the list holds those that moved last. */
export const runCount = signal(0);
export const currentRun = signal<string | null>(null);
export const daemon = signal<Daemon | null>(null);
export const stats = signal<Stats | null>(null);
/** Why the last question had no answer; empty when it had one. */
export const trouble = signal("");
/** Seconds on this machine's clock when `stats` was answered: ages go on counting from there. */
export const answeredAt = signal(0);
/** The clock of the page, once a second. */
export const now = signal(Date.now() / 1000);

/** The run that is looked at: the address's, else the current one. */
export const run = computed<string | null>(() => route.value.run ?? currentRun.value);
export const following = computed(() => route.value.run === null);
export const card = computed(() => runs.value?.find((one) => one.run === run.value) ?? null);
/** Whether more is to be expected of the run: live, else history. */
export const live = computed(() => stats.value?.live ?? false);

/** Counts news of the run that is looked at: panels ask again when it grows. */
export const news = signal(0);
/** Counts changes of incidents, of any run. */
export const incidentNews = signal(0);
export const lastEventId = signal(0);

/** Seconds after which a run that says it runs is called silent where runs are listed. */
const SILENT = 3600;

/** Whether a run's rows have stopped coming, though its files say that it runs. */
export const isSilent = (card: RunCard): boolean =>
  card.state === "running" && card.updated_at !== null && now.value - card.updated_at > SILENT;

/**
 * Runs that go on before those that have ended. What runs stands by when it began: by what moved last, two that
 * train side by side would change places with every step.
 */
export function ordered(cards: readonly RunCard[]): RunCard[] {
  const waiting = (one: RunCard) => isSilent(one) || ["stalled", "paused", "pending"].includes(one.state);
  const group = (one: RunCard) => (waiting(one) ? 1 : one.state === "running" ? 0 : 2);
  const since = (one: RunCard) => (group(one) === 0 ? one.started_at : (one.updated_at ?? one.started_at)) ?? 0;
  return [...cards].sort((a, b) => group(a) - group(b) || since(b) - since(a) || (a.run < b.run ? -1 : 1));
}

export function newsOf(update: Update): void {
  if (update.incidents.length) incidentNews.value += 1;
}

export const AXES: Axis[] = ["step", "position", "elapsed", "time"];
const axisChosen = remembered("axis", "step");
/** What the charts go by. */
export const axis = computed<Axis>(() => (AXES.includes(axisChosen.value as Axis) ? (axisChosen.value as Axis) : "step"));

/** Another axis has other units: what was zoomed to means nothing on it. */
export function chooseAxis(to: Axis): void {
  batch(() => {
    axisChosen.value = to;
    zoom.value = null;
  });
}

export interface Zoom {
  from: number;
  to: number;
}
/** What part of the axis all charts show; null is all of it. In the axis' units. */
export const zoom = signal<Zoom | null>(null);
/** Where something happened. */
export interface Place {
  step: number;
  at: number;
  attempt: number | null;
}
/** Where the reader wants to look: the charts mark it. */
export const focus = signal<Place | null>(null);

export async function loadRuns(): Promise<void> {
  try {
    const answer: Runs = await get("runs");
    batch(() => {
      runs.value = ordered(answer.runs);
      runCount.value = answer.count;
      currentRun.value = answer.current;
      daemon.value = answer.daemon;
      lastEventId.value = answer.last_event_id;
      trouble.value = "";
    });
  } catch (error) {
    trouble.value = String((error as Error).message);
  }
}

let asked = 0;

export async function loadStats(): Promise<void> {
  const name = run.peek();
  if (name === null) return;
  const mine = ++asked;
  try {
    const answer: Stats = await get("stats", { run: name });
    if (mine !== asked || name !== run.peek()) return;
    batch(() => {
      stats.value = answer;
      daemon.value = answer.daemon;
      answeredAt.value = Date.now() / 1000;
      now.value = answeredAt.peek();
      trouble.value = "";
    });
  } catch (error) {
    if (mine === asked) trouble.value = String((error as Error).message);
  }
}

/** How old the newest row is, counted on since the answer. */
export const dataAge = computed(() => {
  const age = stats.value?.data_age_seconds;
  return age == null ? null : age + Math.max(0, now.value - answeredAt.value);
});

export function startStore(): void {
  setInterval(() => (now.value = Date.now() / 1000), 1000);
  let before: string | null = null;
  effect(() => {
    const name = run.value;
    if (name === before) return;
    before = name;
    batch(() => {
      stats.value = null;
      zoom.value = null;
      focus.value = null;
    });
    void loadStats();
  });
}
