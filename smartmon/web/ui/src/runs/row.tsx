/** One run in a list: what it is doing, how far it is, whether something is wrong. */
import type { JSX } from "preact";

import type { RunCard } from "../api";
import { age, duration, percent, plural, step, value, visible, words } from "../format";
import { Icon } from "../icons";
import { severityLook, stateLook, type Look } from "../looks";
import { runLink } from "../router";
import { answeredAt, isSilent, now } from "../store";
import { Sparkline } from "./sparkline";

/** Seconds without a row after which the time left is not told. */
const LATELY = 600;

export function StateBadge({ card }: { card: RunCard }): JSX.Element {
  const look = cardLook(card);
  return (
    <span class={`badge ${look.colour}`}>
      <Icon name={look.icon} />
      {look.word}
    </span>
  );
}

/** What a run's state looks like. One that says that it runs and has long been silent is not shown as one that does. */
export function cardLook(card: RunCard): Look & { word: string } {
  return isSilent(card) ? { colour: "yellow", icon: "clock", word: "silent" } : { ...stateLook(card.state), word: words(card.state) };
}

/** Whether the time left of a run in a list is worth saying: without news it only counts down. */
export const counts = (card: RunCard): boolean => card.state === "running" && (card.eta_seconds ?? 0) > 0 && (agedNow(card) ?? 0) < LATELY;

/** The gravest of the open incidents, and how many there are. */
export function Trouble({ card }: { card: RunCard }): JSX.Element | null {
  const open = card.open_incidents;
  if (!open.length) return null;
  const worst = open.find((incident) => incident.severity === "critical") ?? open[0]!;
  const look = severityLook(worst.severity);
  return (
    <span class={`badge ${look.colour}`} title={open.map((incident) => visible(incident.message)).join("\n")}>
      <Icon name={look.icon} />
      {open.length === 1 ? words(worst.kind) : plural(open.length, "incident")}
    </span>
  );
}

export function Progress({ share, colour, label }: { share: number | null; colour: string; label: string }): JSX.Element {
  const bar = (element: HTMLElement | null) => {
    if (element) element.style.width = `${(share ?? 0) * 100}%`;
  };
  return (
    <div
      class={`progress ${colour}`}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={share === null ? undefined : Math.round(share * 1000) / 10}
    >
      <i ref={bar} />
    </div>
  );
}

/** How far a run is, in percent; with a sign where the total is only estimated. */
export const share = (card: RunCard, digits = 0): string =>
  card.estimated_total === null ? percent(card.progress, digits) : `\u2248\u00a0${percent(card.progress, 0)}`;

/** How long ago a run's newest row was written, counted on. */
export const agedNow = (card: RunCard): number | null =>
  card.updated_at === null ? null : Math.max(0, now.value - card.updated_at);

interface RowProps {
  card: RunCard;
  chosen: boolean;
}

export function RunRow({ card, chosen }: RowProps): JSX.Element {
  void answeredAt.value;
  const look = cardLook(card);
  const left = counts(card);
  return (
    <a class="run-row" href={runLink(card.run)} aria-current={chosen ? "page" : undefined}>
      <span class="run-name">
        <span class={look.colour} title={look.word}>
          <Icon name={look.icon} label={look.word} />
        </span>
        <b>{visible(card.run)}</b>
      </span>
      <span class={`run-spark ${look.colour}`}>
        <Sparkline values={card.sparkline} label="loss so far" />
      </span>
      <Progress share={card.progress} colour={look.colour} label={`progress of ${card.run}`} />
      <span class="run-facts">
        <span>
          {card.progress === null ? `step ${step(card.step)}` : share(card)}
          {left && `, ${duration(card.eta_seconds)} left`}
        </span>
        {!left && <span>loss {value(card.loss)}</span>}
        <span title={`newest row; loss ${value(card.loss)}`}>{age(agedNow(card))}</span>
      </span>
      {(card.open_incidents.length > 0 || card.gone) && (
        <span class="run-trouble">
          <Trouble card={card} />
          {card.gone && <span class="badge">folder gone</span>}
        </span>
      )}
    </a>
  );
}
