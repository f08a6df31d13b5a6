/** Lines of a log by type and colour, with a search over them; it stays at the end until somebody scrolls up. */
import { useSignal } from "@preact/signals";
import type { ComponentChildren, JSX } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import type { LineKind, LogLine } from "../api";
import { grouped, plural } from "../format";
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
  /** Fills the screen. */
  tall?: boolean;
  /** Stands above the first line. */
  above?: ComponentChildren;
}

/** The lines, those that hold every word searched for and are of a type that is wanted. */
export function Lines({ lines, tall = false, above }: LinesProps): JSX.Element {
  const search = useSignal("");
  const kinds = useSignal<ReadonlySet<LineKind>>(new Set());
  const box = useRef<HTMLOListElement>(null);
  const atEnd = useRef(true);
  const before = useRef({ first: -1, height: 0 });
  const shown = matching(lines, search.value, kinds.value);
  const present = (Object.keys(KINDS) as LineKind[]).filter((kind) => lines.some((line) => line.kind === kind));

  useLayoutEffect(() => {
    const list = box.current;
    if (!list) return;
    const first = shown[0]?.offset ?? -1;
    if (atEnd.current) list.scrollTop = list.scrollHeight;
    // Lines that came above must not push away the one that is read.
    else if (first < before.current.first) list.scrollTop += list.scrollHeight - before.current.height;
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
          placeholder="Search these lines"
          aria-label="Search these lines"
          onInput={(event) => (search.value = event.currentTarget.value)}
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
        <span class="muted" role="status">
          {shown.length === lines.length
            ? plural(lines.length, "line")
            : `${grouped(shown.length)} of ${plural(lines.length, "line")}`}
        </span>
      </div>
      {shown.length === 0 ? (
        <p class="muted">Nothing matched.</p>
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
                <Shown text={line.text} lines limit={600} />
              </span>
            </li>
          ))}
        </ol>
      )}
    </>
  );
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
