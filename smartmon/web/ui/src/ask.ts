/** Questions to the server that a panel asks by itself: again when there is news, and what it knew stays meanwhile. */
import { useEffect, useRef, useState } from "preact/hooks";

import { get, type Query } from "./api";
import { news } from "./store";

export interface Asked<T> {
  answer: T | null;
  /** Why there is no answer, or no newer one; empty when there is. */
  trouble: string;
}

interface Options {
  /** Whether news of the run asks again. */
  live?: boolean;
  /** At most so often, in milliseconds: news may come several times a second. */
  every?: number;
  /** Asks again after so many milliseconds while the page is shown: for what changes without any news. */
  poll?: number;
  /** Lets the top of the page and the first chart go first, when the page opens. */
  patient?: boolean;
}

/** Milliseconds that what is further down waits for the first chart, at most. */
const PATIENCE = 700;

let begin = () => {};
/** A server answers one question after the other: asked all at once, they would keep the first chart waiting. */
const begun = new Promise<void>((resolve) => {
  begin = resolve;
  setTimeout(resolve, PATIENCE);
});
/** The first chart is drawn: the rest may ask. */
export const firstShown = (): void => begin();

/** A question that takes long is asked the more seldom: a page keeps a server at most an eighth busy with it. */
const SHARE = 8;

/** The answer of an endpoint; null asks nothing. Another question forgets the answer to the one before. */
export function useAsk<T>(endpoint: string | null, params: Query, { live = true, every = 1000, poll = 0, patient = false }: Options = {}): Asked<T> {
  const [state, setState] = useState<Asked<T> & { question: string }>({ answer: null, trouble: "", question: "" });
  const question = JSON.stringify([endpoint, params]);
  const again = useRef<() => void>(() => {});
  const asked = live ? news.value : 0;

  useEffect(() => {
    if (endpoint === null) return;
    const stop = new AbortController();
    let timer = 0;
    let askedAt = 0;
    let took = 0;
    let busy = false;
    let wanted = false;
    const ask = async () => {
      timer = 0;
      askedAt = Date.now();
      busy = true;
      try {
        const answer = await get<T>(endpoint, params, stop.signal);
        if (stop.signal.aborted) return;
        setState({ answer, trouble: "", question });
      } catch (error) {
        if (stop.signal.aborted) return;
        const trouble = (error as Error).message;
        setState((old) => ({ answer: old.question === question ? old.answer : null, trouble, question }));
      }
      busy = false;
      took = Date.now() - askedAt;
      if (wanted) again.current();
    };
    // News never cancels a question on its way: a slow answer would never come.
    again.current = () => {
      wanted = busy;
      const pause = Math.max(every, took * SHARE);
      if (!busy && !timer) timer = window.setTimeout(() => void ask(), Math.max(0, askedAt + pause - Date.now()));
    };
    const first = () => (stop.signal.aborted ? undefined : ask());
    if (patient) void begun.then(first);
    else void first();
    return () => {
      clearTimeout(timer);
      stop.abort();
      again.current = () => {};
    };
  }, [question]);

  useEffect(() => {
    if (asked) again.current();
  }, [asked]);

  useEffect(() => {
    if (!poll) return;
    const timer = setInterval(() => {
      if (!document.hidden) again.current();
    }, poll);
    return () => clearInterval(timer);
  }, [poll]);

  return state.question === question ? state : { answer: null, trouble: "" };
}
