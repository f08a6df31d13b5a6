/** What the reader chose, remembered in this browser. Works without storage, too (private windows refuse it). */
import { signal, type Signal } from "@preact/signals";

const PREFIX = "smartmon.";

function read(key: string): unknown {
  try {
    const text = localStorage.getItem(PREFIX + key);
    return text === null ? undefined : JSON.parse(text);
  } catch {
    return undefined;
  }
}

const known = new Map<string, Signal<unknown>>();

/** The type of a choice, not of the one value that it begins with. */
type Wide<T> = T extends boolean ? boolean : T extends number ? number : string;

/** A signal whose value outlives the page. One of another type than `initial` (an older version's) is not taken. */
export function remembered<T extends string | number | boolean>(key: string, initial: T): Signal<Wide<T>> {
  const earlier = known.get(key);
  if (earlier) return earlier as Signal<Wide<T>>;
  const stored = read(key);
  const value = signal<unknown>(typeof stored === typeof initial ? stored : initial) as Signal<Wide<T>>;
  let first = true;
  value.subscribe((now) => {
    if (first) {
      first = false;
      return;
    }
    try {
      localStorage.setItem(PREFIX + key, JSON.stringify(now));
    } catch {
      // Nothing is lost but the memory of a choice.
    }
  });
  known.set(key, value as Signal<unknown>);
  return value;
}
