/** Questions to the server that a panel asks by itself: again when there is news, and what it knew stays meanwhile. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { get } from "./api";
import { news } from "./store";

export interface Asked<T> {
  answer: T | null;
  /** Why there is no answer, or no newer one; empty when there is. */
  trouble: string;
}

type Params = Record<string, string | number | boolean | null | readonly string[]>;

/** The answer of an endpoint. Another question forgets the answer to the one before. */
export function useAsk<T>(endpoint: string, params: Params, { live = true } = {}): Asked<T> {
  const state = useSignal<Asked<T> & { question: string }>({ answer: null, trouble: "", question: "" });
  const question = JSON.stringify([endpoint, params]);
  const asked = live ? news.value : 0;
  useEffect(() => {
    let over = false;
    get<T>(endpoint, params)
      .then((answer) => {
        if (!over) state.value = { answer, trouble: "", question };
      })
      .catch((error: unknown) => {
        const before = state.peek();
        const answer = before.question === question ? before.answer : null;
        if (!over) state.value = { answer, trouble: String((error as Error).message), question };
      });
    return () => {
      over = true;
    };
  }, [question, asked]);
  return state.value.question === question ? state.value : { answer: null, trouble: "" };
}
