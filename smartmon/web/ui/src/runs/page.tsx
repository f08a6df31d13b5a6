/** All runs in one table. */
import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import { age, duration, percent, plural, step, value, visible } from "../format";
import { stateLook } from "../looks";
import { Panel } from "../panel";
import { compareLink, runLink } from "../router";
import { runs } from "../store";
import { matches } from "./list";
import { NoRuns } from "./none";
import { agedNow, Progress, StateBadge, Trouble } from "./row";
import { Sparkline } from "./sparkline";
import "./runs.css";

export function RunsPage(): JSX.Element {
  const search = useSignal("");
  const chosen = useSignal<readonly string[]>([]);
  const all = runs.value ?? [];
  if (runs.value !== null && all.length === 0) return <NoRuns />;
  const found = all.filter((card) => matches(card, search.value));
  const toggle = (name: string, on: boolean) =>
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
    <Panel title="Runs" aside={plural(all.length, "run")} tools={tools} flush>
      <table class="runs-table">
        <thead>
          <tr>
            <th>
              <span class="visually-hidden">Compare</span>
            </th>
            <th>Run</th>
            <th>State</th>
            <th>Progress</th>
            <th class="num">Step</th>
            <th>Loss</th>
            <th class="num">
              <span class="visually-hidden">Loss now</span>
            </th>
            <th class="num">Left</th>
            <th class="num">Updated</th>
            <th>Incidents</th>
          </tr>
        </thead>
        <tbody>
          {found.map((card) => {
            const look = stateLook(card.state);
            return (
              <tr key={card.run}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={`Compare ${card.run}`}
                    checked={chosen.value.includes(card.run)}
                    onChange={(event) => toggle(card.run, event.currentTarget.checked)}
                  />
                </td>
                <td class="name">
                  <a href={runLink(card.run)}>
                    <b>{visible(card.run)}</b>
                  </a>
                  {card.model_name && <small class="muted">{visible(card.model_name)}</small>}
                </td>
                <td>
                  <StateBadge state={card.state} />
                </td>
                <td class="wide">
                  <Progress share={card.progress} colour={look.colour} label={`progress of ${card.run}`} />
                  <small class="muted">{percent(card.progress)}</small>
                </td>
                <td class="num">{step(card.step)}</td>
                <td class={`spark-cell ${look.colour}`}>
                  <Sparkline values={card.sparkline} label="loss so far" />
                </td>
                <td class="num">{value(card.loss)}</td>
                <td class="num">{card.state === "running" ? duration(card.eta_seconds) : ""}</td>
                <td class="num">{age(agedNow(card))}</td>
                <td>
                  <Trouble card={card} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {found.length === 0 && <p class="empty">No run matches &ldquo;{visible(search.value)}&rdquo;.</p>}
    </Panel>
  );
}
