/** The pages of the timeline that were asked for: the newest one is asked again with each news, older ones stay. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { get, type Event, type Events, type Icon } from "../api";
import { useAsk } from "../ask";
import type { Filter } from "./filter";

const PAGE = 50;

export interface Past {
  /** The newest first; null before the first answer. */
  events: Event[] | null;
  more: boolean;
  /** Whether an older page is on its way. */
  asking: boolean;
  trouble: string;
  older: () => void;
}

/** The events of a run that pass a filter. `kinds`: which group each kind known is of. */
export function usePast(run: string | null, filter: Filter, kinds: Record<string, Icon>): Past {
  const chosen = Object.keys(kinds).filter((kind) => filter.groups.has(kinds[kind]!));
  const query = { run, kind: chosen, severity: filter.severity, limit: PAGE };
  const question = JSON.stringify(query);
  const newest = useAsk<Events>("events", query, { every: 2_000, patient: true });
  const state = useSignal<Known>(NOTHING);

  useEffect(() => {
    if (!newest.answer) return;
    const before = state.peek().question === question ? state.peek() : NOTHING;
    state.value = { ...before, ...joined(before, newest.answer), question };
  }, [newest.answer]);

  const older = () => {
    const now = state.peek();
    const last = now.events?.at(-1);
    if (!last || !now.more || now.asking) return;
    state.value = { ...now, asking: true };
    get<Events>("events", { ...query, before: last.id })
      .then((answer) => {
        const then = state.peek();
        if (then.question !== question) return;
        state.value = { ...then, events: merged(then.events ?? [], answer.events), more: answer.more, asking: false };
      })
      .catch((error: Error) => {
        state.value = { ...state.peek(), asking: false, trouble: error.message };
      });
  };
  const known = state.value.question === question ? state.value : NOTHING;
  return { ...known, trouble: known.trouble || newest.trouble, older };
}

type Known = Omit<Past, "older"> & { question: string };

const NOTHING: Known = { events: null, more: false, asking: false, trouble: "", question: "" };

/** What is known already, and the newest page. After a long sleep the two may not meet: then the new page is all. */
function joined(before: { events: Event[] | null; more: boolean }, answer: Events): { events: Event[]; more: boolean } {
  const known = before.events ?? [];
  const ids = new Set(known.map((event) => event.id));
  const meets = !answer.more || answer.events.some((event) => ids.has(event.id));
  if (known.length === 0 || !meets) return { events: answer.events, more: answer.more };
  return { events: merged(known, answer.events), more: before.more };
}

/** By the moment that they tell of: what was read late belongs further down. */
function merged(one: readonly Event[], other: readonly Event[]): Event[] {
  const found = new Map([...one, ...other].map((event) => [event.id, event]));
  return [...found.values()].sort((a, b) => b.at - a.at || b.id - a.id);
}
