/** All runs in one table. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import type { RunCard } from "../api";
import { age, duration, plural, step, value, visible } from "../format";
import { Panel } from "../panel";
import { compareLink, runLink } from "../router";
import { runCount, runs } from "../store";
import { useFound } from "./found";
import { NoRuns } from "./none";
import { agedNow, cardLook, counts, Progress, share, StateBadge, Trouble } from "./row";
import { Sparkline } from "./sparkline";
import "./runs.css";

const HEAD: readonly [string, string?][] = [
  ["Run"],
  ["State"],
  ["Progress"],
  ["Step", "num"],
  ["Loss"],
  ["Now", "num"],
  ["Left", "num"],
  ["Updated", "num"],
  ["Incidents"],
];

interface RowProps {
  card: RunCard;
  ticked: boolean;
  onTick: (on: boolean) => void;
}

function Row({ card, ticked, onTick }: RowProps): JSX.Element {
  const { colour } = cardLook(card);
  return (
    <tr>
      <td>
        <label class="tick">
          <input type="checkbox" aria-label={`Compare ${card.run}`} checked={ticked} onChange={(event) => onTick(event.currentTarget.checked)} />
        </label>
      </td>
      <td class="name">
        <a href={runLink(card.run)}>
          <b>{visible(card.run)}</b>
        </a>
        {card.model_name && <small class="muted">{visible(card.model_name)}</small>}
      </td>
      <td>
        <StateBadge card={card} />
      </td>
      <td class="wide">
        <Progress share={card.progress} colour={colour} label={`progress of ${card.run}`} />
        <small class="muted">{share(card, 1)}</small>
      </td>
      <td class={card.progress === null ? "num" : "num told"} data-label="step">
        {step(card.step)}
      </td>
      <td class={`spark-cell ${colour}`}>
        <Sparkline values={card.sparkline} label="loss so far" />
      </td>
      <td class="num" data-label="loss">
        {value(card.loss)}
      </td>
      <td class="num left" data-label={counts(card) ? "left" : undefined}>
        {counts(card) ? duration(card.eta_seconds) : ""}
      </td>
      <td class="num age" data-label="updated">
        {age(agedNow(card))}
      </td>
      <td>
        <Trouble card={card} />
      </td>
    </tr>
  );
}

export function RunsPage(): JSX.Element {
  const search = useSignal("");
  const chosen = useSignal<readonly string[]>([]);
  const found = useFound(search.value);
  if (runs.value?.length === 0) return <NoRuns />;
  const tick = (name: string, on: boolean) =>
    (chosen.value = on ? [...chosen.value, name] : chosen.value.filter((one) => one !== name));
  const tools = (
    <>
      {chosen.value.length > 1 ? (
        <a class="button" href={compareLink(chosen.value)}>
          Compare {chosen.value.length}
        </a>
      ) : (
        <span class="muted">Tick two or more to compare</span>
      )}
      <input
        class="field"
        type="search"
        placeholder="Search"
        aria-label="Search runs"
        value={search.value}
        onInput={(event) => (search.value = event.currentTarget.value)}
      />
    </>
  );
  return (
    <Panel title="Runs" aside={plural(runCount.value, "run")} tools={tools} flush>
      <h1 class="visually-hidden">All runs</h1>
      <table class="runs-table">
        <thead>
          <tr>
            <th>
              <span class="visually-hidden">Compare</span>
            </th>
            {HEAD.map(([title, look]) => (
              <th key={title} class={look}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {found.cards.map((card) => (
            <Row key={card.run} card={card} ticked={chosen.value.includes(card.run)} onTick={(on) => tick(card.run, on)} />
          ))}
        </tbody>
      </table>
      {found.cards.length === 0 && <p class="empty">{found.asking ? "Asking\u2026" : `No run matches \u201c${visible(search.value)}\u201d.`}</p>}
      {found.older > 0 && <p class="empty">{plural(found.older, "older run")} not listed: the search finds them too.</p>}
    </Panel>
  );
}
