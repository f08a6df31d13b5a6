/** The whole log on a page of its own: from its end as it grows, from its beginning, or what a search finds in it. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { get, type Log as LogAnswer, type LogLine } from "../api";
import { useAsk } from "../ask";
import { bytes } from "../format";
import { Icon } from "../icons";
import { Empty, Panel } from "../panel";
import { runLink } from "../router";
import { live } from "../store";
import { inert } from "../text/inert";
import { Shown } from "../text/shown";
import { Lines } from "./lines";
import { NoLog } from "./panel";
import "./log.css";

const LAST = 200;
const MORE = 1_000;
/** How long somebody may pause within a word before it is searched for. */
const TYPING = 300;

/** The page of a run's log. */
export function LogPage({ run }: { run: string }): JSX.Element {
  const source = useSignal("");
  const find = useSignal("");
  const fromStart = useSignal(false);
  /** Counts what was begun anew: the field of the search is emptied with it. */
  const round = useSignal(0);
  const typing = useRef(0);
  const start = fromStart.value && find.value === "";
  const query = { run, source: source.value, limit: LAST, find: find.value, after: start ? 0 : null };
  const poll = live.value && !start ? 3_000 : 0;
  const { answer, trouble } = useAsk<LogAnswer>("log", query, { every: 2_000, poll, live: !start });
  const shown = useRef<LogAnswer | null>(null);
  if (answer !== null) shown.current = answer;
  // While a search is on its way what was there stays, and with it the field that is typed into.
  const known = answer ?? (trouble ? null : shown.current);
  const goTo = (beginning: boolean) => {
    clearTimeout(typing.current);
    find.value = "";
    fromStart.value = beginning;
    round.value += 1;
  };
  const onFind = (text: string) => {
    clearTimeout(typing.current);
    typing.current = window.setTimeout(() => (find.value = text.trim()), TYPING);
  };
  return (
    <Panel
      title="Log"
      class="log-page"
      aside={
        <>
          <h1 class="visually-hidden">The log of {inert(run)}</h1>
          <a href={runLink(run)}>
            <Shown text={run} limit={80} />
          </a>
          {known?.source && ` \u00b7 ${bytes(known.bytes)}`}
        </>
      }
      tools={
        <>
          {(known?.sources.length ?? 0) > 1 && (
            <select
              class="field"
              aria-label="Which log"
              value={source.value || known?.source}
              onChange={(event) => (source.value = event.currentTarget.value)}
            >
              {known?.sources.map((one) => (
                <option key={one} value={one}>
                  {inert(one)}
                </option>
              ))}
            </select>
          )}
          <button type="button" class="button" aria-pressed={start} onClick={() => goTo(true)}>
            Beginning
          </button>
          <button
            type="button"
            class="button"
            aria-pressed={!fromStart.value && find.value === ""}
            onClick={() => goTo(false)}
          >
            End
          </button>
        </>
      }
    >
      {known === null ? (
        <Empty>{trouble || "Asking…"}</Empty>
      ) : known.lines.length === 0 && find.value === "" ? (
        <NoLog answer={known} />
      ) : (
        <Whole
          key={`${known.source} ${round.value}`}
          run={run}
          newest={known}
          about={`${known.source} ${start} ${find.value}`}
          find={find.value}
          fromStart={start}
          onFind={onFind}
        />
      )}
    </Panel>
  );
}

interface WholeProps {
  run: string;
  newest: LogAnswer;
  /** What is asked: lines of another question belong nowhere. */
  about: string;
  find: string;
  fromStart: boolean;
  onFind: (text: string) => void;
}

/** Lines by their place in the file, so that what is asked for twice stands there once. */
function Whole({ run, newest, about, find, fromStart, onFind }: WholeProps): JSX.Element {
  const known = useSignal<ReadonlyMap<number, LogLine>>(new Map());
  const before = useSignal<number | null>(newest.before);
  const after = useSignal<number | null>(newest.after);
  const size = useRef(newest.bytes);
  const asked = useRef(about);
  const asking = useSignal(false);
  const trouble = useSignal("");

  useEffect(() => {
    const shrunk = newest.bytes < size.current;
    const gap = !newest.lines.some((line) => known.peek().has(line.offset));
    // Also of a log that was begun anew, or grew by more than a page since, what was read before belongs nowhere.
    const anew = shrunk || gap || asked.current !== about;
    size.current = newest.bytes;
    asked.current = about;
    if (anew) {
      before.value = newest.before;
      after.value = newest.after;
    }
    known.value = new Map([...(anew ? [] : known.peek()), ...placed(newest.lines)]);
  }, [newest]);

  const more = (where: { before: number } | { after: number }) => {
    if (asking.value) return;
    asking.value = true;
    get<LogAnswer>("log", { run, source: newest.source, find, limit: MORE, ...where })
      .then((answer) => {
        if (asked.current !== about) return;
        known.value = new Map([...known.peek(), ...placed(answer.lines)]);
        if ("before" in where) before.value = answer.before;
        else after.value = answer.after;
        trouble.value = "";
      })
      .catch((error: Error) => (trouble.value = error.message))
      .finally(() => (asking.value = false));
  };
  const lines = [...known.value.values()].sort((a, b) => a.offset - b.offset);
  const button = (label: string, where: { before: number } | { after: number }) => (
    <>
      <button type="button" class="more" aria-disabled={asking.value} onClick={() => more(where)}>
        {asking.value ? "Asking…" : label}
      </button>{" "}
      {trouble.value && (
        <span class="red">
          <Icon name="warning" /> {trouble.value}
        </span>
      )}
    </>
  );
  const earlier = find ? "Search what comes before" : "Show what comes before";
  return (
    <Lines
      lines={lines}
      tall
      fromStart={fromStart}
      onFind={onFind}
      above={!fromStart && before.value !== null && button(earlier, { before: before.value })}
      below={fromStart && after.value !== null && button("Show what follows", { after: after.value })}
    />
  );
}

const placed = (lines: readonly LogLine[]): [number, LogLine][] => lines.map((line) => [line.offset, line]);
