/** Lines of a log by type and colour, with a search over them; it stays at the end until somebody scrolls up. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { LineKind, LogLine } from "../api";
import { exact, grouped, plural, value } from "../format";
import { inert } from "../text/inert";
import { Shown } from "../text/shown";

/** Type -> what it is called, and the letter that tells it without its colour. */
const KINDS: Record<LineKind, [name: string, sign: string]> = {
  start: ["start", "▶"],
  end: ["end", "■"],
  step: ["step", "·"],
  checkpoint: ["checkpoint", "◆"],
  evaluation: ["evaluation", "≈"],
  warning: ["warning", "!"],
  error: ["error", "✗"],
  text: ["other", ""],
};
const NEAR_END = 40;

interface LinesProps {
  lines: readonly LogLine[];
  /** Searches where these lines come from; without it, the lines themselves are searched. */
  onFind?: (text: string) => void;
  /** Fills the screen. */
  tall?: boolean;
  /** Stands above the first line. */
  above?: ComponentChildren;
  /** Stands below the last line. */
  below?: ComponentChildren;
  /** Begins at the first line, and stays there when more come. */
  fromStart?: boolean;
}

/** The lines, those that hold every word searched for and are of a type that is wanted. */
export function Lines({ lines, onFind, tall = false, above, below, fromStart = false }: LinesProps): JSX.Element {
  const search = useSignal("");
  const kinds = useSignal<ReadonlySet<LineKind>>(new Set());
  const box = useRef<HTMLOListElement>(null);
  const atEnd = useRef(!fromStart);
  const before = useRef({ first: -1, height: 0 });
  const shown = matching(lines, onFind ? "" : search.value, kinds.value);
  const label = onFind ? "Search the whole log" : "Search these lines";
  const present = (Object.keys(KINDS) as LineKind[]).filter((kind) => lines.some((line) => line.kind === kind));

  useLayoutEffect(() => {
    const list = box.current;
    if (!list) return;
    const first = shown[0]?.offset ?? -1;
    if (atEnd.current) list.scrollTop = list.scrollHeight;
    // Lines that came above must not push away the one that is read.
    else if (!fromStart && first < before.current.first) list.scrollTop += list.scrollHeight - before.current.height;
    before.current = { first, height: list.scrollHeight };
  }, [shown.length, shown[0]?.offset, shown.at(-1)?.offset]);

  const toggled = (kind: LineKind) => {
    const next = new Set(kinds.value);
    if (!next.delete(kind)) next.add(kind);
    kinds.value = next;
  };
  return (
    <>
      <div class="log-filter" role="search">
        <input
          type="search"
          class="field"
          placeholder={label}
          aria-label={label}
          onInput={(event) => {
            search.value = event.currentTarget.value;
            onFind?.(search.value);
          }}
        />
        {present.length > 1 &&
          present.map((kind) => (
            <button
              key={kind}
              type="button"
              class="button chip"
              aria-pressed={kinds.value.has(kind)}
              onClick={() => toggled(kind)}
            >
              {KINDS[kind][1] && (
                <span class={`line-${kind}`} aria-hidden="true">
                  {KINDS[kind][1]}
                </span>
              )}
              {KINDS[kind][0]}
            </button>
          ))}
        <span class="muted">
          {shown.length === lines.length
            ? plural(lines.length, "line")
            : `${grouped(shown.length)} of ${plural(lines.length, "line")}`}
        </span>
        {/* Lines that come by themselves are not announced: a log would never be silent. */}
        <span class="visually-hidden" role="status">
          {(search.value !== "" || kinds.value.size > 0) && plural(shown.length, "line matches", "lines match")}
        </span>
      </div>
      {shown.length === 0 ? (
        <p class="muted">Nothing matched. {above}</p>
      ) : (
        <ol
          class={tall ? "log-lines tall" : "log-lines"}
          ref={box}
          tabIndex={0}
          aria-label="Lines of the log"
          onScroll={(event) => {
            const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
            atEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END;
          }}
        >
          {above && <li class="above">{above}</li>}
          {shown.map((line) => (
            <li key={line.offset} class={`line-${line.kind}`}>
              <span class="sign" title={KINDS[line.kind]?.[0]}>
                {KINDS[line.kind]?.[1]}
              </span>
              <span class="text">
                <Line text={line.text} />
              </span>
            </li>
          ))}
          {below && <li class="above">{below}</li>}
        </ol>
      )}
    </>
  );
}

/** A line as it was written; a row of numbers as names and values, in few digits, with the row itself behind it. */
function Line({ text }: { text: string }): JSX.Element {
  const row = text.startsWith('{"') ? fields(text) : null;
  if (row === null) return <Shown text={text} lines limit={600} />;
  return (
    <span title={inert(text, { limit: 1_000 })}>
      {row.map(([name, told]) => (
        <span key={name} class="field-of">
          <span class="name">{inert(name, { limit: 60 })}</span> {told}
        </span>
      ))}
    </span>
  );
}

const FIELDS_MOST = 24;

/** The fields of a flat row of JSON; null where it is none. */
function fields(text: string): [name: string, told: string][] | null {
  let row: unknown;
  try {
    row = JSON.parse(text);
  } catch {
    return null;
  }
  const entries = Object.entries(row as Record<string, unknown>);
  if (entries.length > FIELDS_MOST || entries.some(([, told]) => typeof told === "object" && told !== null)) return null;
  return entries
    .filter(([, told]) => told !== null)
    .map(([name, told]) => {
      const when = name === "timestamp" && typeof told === "number";
      if (when) return ["at", exact(told)];
      if (typeof told !== "number") return [name, inert(String(told), { limit: 200 })];
      return [name, Number.isInteger(told) ? grouped(told) : value(told)];
    });
}

function matching(lines: readonly LogLine[], search: string, kinds: ReadonlySet<LineKind>): readonly LogLine[] {
  const words = search.toLowerCase().split(/\s+/u).filter(Boolean);
  if (words.length === 0 && kinds.size === 0) return lines;
  return lines.filter((line) => {
    if (kinds.size > 0 && !kinds.has(line.kind)) return false;
    const text = line.text.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}
