/** The trainer's log: its last 200 lines on the run's page, all of it on a page of its own. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { get, type Log as LogAnswer, type LogLine } from "../api";
import { useAsk } from "../ask";
import { bytes } from "../format";
import { Icon } from "../icons";
import { Empty, Panel } from "../panel";
import { link, runLink } from "../router";
import { live } from "../store";
import { inert } from "../text/inert";
import { Shown } from "../text/shown";
import { Lines } from "./lines";
import "./log.css";

const LAST = 200;
const EARLIER = 1_000;

/** The panel of a run: folded until somebody wants it. */
export function Log({ run }: { run: string }): JSX.Element {
  return (
    <Panel title="Log" id="log" open={false} tools={<a href={link("run", run, "log")}>The whole log</a>}>
      {() => <Tail run={run} />}
    </Panel>
  );
}

function Tail({ run }: { run: string }): JSX.Element {
  const { answer, trouble } = useAsk<LogAnswer>(
    "log",
    { run, limit: LAST },
    { every: 2_000, poll: live.value ? 3_000 : 0 },
  );
  if (answer === null) return <Empty>{trouble || "Asking…"}</Empty>;
  if (answer.lines.length === 0) return <NoLog answer={answer} />;
  return <Lines lines={answer.lines} />;
}

function NoLog({ answer }: { answer: LogAnswer }): JSX.Element {
  return (
    <Empty>
      {answer.source ? (
        <>
          <Shown text={answer.source} limit={120} /> is empty so far.
        </>
      ) : (
        <>
          <p>This run has no log of its own.</p>
          <p>
            <code>smartmon exec -- COMMAND</code> keeps everything that a training prints.
          </p>
        </>
      )}
    </Empty>
  );
}

/** The page of the whole log: it reads from the end, and what comes before as one asks for it. */
export function LogPage({ run }: { run: string }): JSX.Element {
  const source = useSignal("");
  const query = { run, source: source.value, limit: LAST };
  const { answer, trouble } = useAsk<LogAnswer>("log", query, { every: 2_000, poll: live.value ? 3_000 : 0 });
  const sources = answer?.sources ?? [];
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
          {answer?.source && ` · ${bytes(answer.bytes)}`}
        </>
      }
      tools={
        sources.length > 1 && (
          <select
            class="field"
            aria-label="Which log"
            value={source.value || answer?.source}
            onChange={(event) => (source.value = event.currentTarget.value)}
          >
            {sources.map((one) => (
              <option key={one} value={one}>
                {one}
              </option>
            ))}
          </select>
        )
      }
    >
      {answer === null ? (
        <Empty>{trouble || "Asking…"}</Empty>
      ) : answer.lines.length === 0 ? (
        <NoLog answer={answer} />
      ) : (
        <Whole key={answer.source} run={run} newest={answer} />
      )}
    </Panel>
  );
}

/** Lines by their place in the file, so that what is asked for twice stands there once. */
function Whole({ run, newest }: { run: string; newest: LogAnswer }): JSX.Element {
  const known = useSignal<ReadonlyMap<number, LogLine>>(new Map());
  const before = useSignal<number | null>(newest.before);
  const size = useRef(newest.bytes);
  const asking = useSignal(false);
  const trouble = useSignal("");

  useEffect(() => {
    const shrunk = newest.bytes < size.current;
    const gap = !newest.lines.some((line) => known.peek().has(line.offset)) && known.peek().size > 0;
    size.current = newest.bytes;
    // A log that was begun anew, or grew by more than a page since: what was read before belongs nowhere.
    const kept = shrunk || gap ? [] : [...known.peek()];
    if (shrunk || gap) before.value = newest.before;
    known.value = new Map([...kept, ...newest.lines.map((line): [number, LogLine] => [line.offset, line])]);
  }, [newest]);

  const earlier = () => {
    if (before.value === null || asking.value) return;
    asking.value = true;
    get<LogAnswer>("log", { run, source: newest.source, before: before.value, limit: EARLIER })
      .then((answer) => {
        known.value = new Map([...answer.lines.map((line): [number, LogLine] => [line.offset, line]), ...known.peek()]);
        before.value = answer.before;
        trouble.value = "";
      })
      .catch((error: Error) => (trouble.value = error.message))
      .finally(() => (asking.value = false));
  };
  const lines = [...known.value.values()].sort((a, b) => a.offset - b.offset);
  const above = before.value !== null && (
    <>
      <button type="button" class="more" disabled={asking.value} onClick={earlier}>
        {asking.value ? "Asking…" : "Show what comes before"}
      </button>{" "}
      {trouble.value && (
        <span class="red">
          <Icon name="warning" /> {trouble.value}
        </span>
      )}
    </>
  );
  return <Lines lines={lines} tall above={above} />;
}
