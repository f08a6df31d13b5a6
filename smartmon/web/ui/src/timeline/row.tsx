/** A line of the timeline. */
import type { JSX } from "preact";

import type { Event, Incident } from "../api";
import { exact, moment, step, words } from "../format";
import { Icon } from "../icons";
import { kindLook, severityLook } from "../looks";
import { link } from "../router";
import type { Place } from "../store";
import { Shown } from "../text/shown";

interface EventRowProps {
  event: Event;
  /** Moves the charts to it; without it there are none to move. */
  onLook?: (there: Place) => void;
  /** The incident that it belongs to. */
  incident?: Incident | undefined;
}

/** Icon, kind, moment and what happened; a press on the kind moves the charts to its step. */
export function EventRow({ event, onLook, incident }: EventRowProps): JSX.Element {
  const look = kindLook(event.kind, event.severity);
  const grave = event.severity === "info" ? null : severityLook(event.severity);
  const at = event.step;
  const name = (
    <>
      <span class="kind">{words(event.kind)}</span>
      {at !== null && <span class="num muted">step {step(at)}</span>}
    </>
  );
  return (
    <li class={`event${event.historic ? " historic" : ""}`} data-kind={event.kind}>
      <Icon name={look.icon} class={look.colour} />
      <div class="what">
        <div class="head">
          {at !== null && onLook ? (
            <button
              type="button"
              class="as-link name"
              title="Show it in the charts"
              onClick={() => onLook({ step: at, at: event.at, attempt: event.attempt })}
            >
              {name}
            </button>
          ) : (
            <span class="name">{name}</span>
          )}
          {grave && (
            <span class={`badge ${grave.colour}`}>
              <Icon name={grave.icon} />
              {words(event.severity)}
            </span>
          )}
          <time class="muted" dateTime={event.time ?? undefined} title={exact(event.at)}>
            {moment(event.at)}
          </time>
        </div>
        <p>
          <Shown text={event.message} limit={280} />
          {incident && (
            <>
              {" "}
              <a href={link("run", incident.run, "incident", incident.id)}>Incident</a>
            </>
          )}
          {event.historic && (
            <span class="muted" title="It was past already when it was first read: nobody was told, nothing was kept.">
              {" "}
              (read later)
            </span>
          )}
        </p>
      </div>
    </li>
  );
}
