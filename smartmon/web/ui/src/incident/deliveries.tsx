/** Who was told of an incident, and whether it arrived. */
import type { JSX } from "preact";

import type { Delivery } from "../api";
import { age, duration, exact, moment, plural, words } from "../format";
import { Icon, type IconName } from "../icons";
import type { Colour } from "../looks";
import { now } from "../store";
import { Shown } from "../text/shown";

const STATES: Record<string, [icon: IconName, colour: Colour, word: string]> = {
  sent: ["check", "green", "delivered"],
  pending: ["clock", "yellow", "waiting"],
  sending: ["clock", "yellow", "on its way"],
  dead: ["cross", "red", "given up"],
};

/** What a message says, by the change that it is about. */
const SAYS: Record<string, string> = {
  opened: "that it opened",
  escalated: "that it is critical now",
  resolved: "that it is over",
  reminder: "that it is still critical",
  summary: "that the run is in trouble already",
};

/** When an alert on its way is tried next. */
function nextTry(at: number): string {
  const left = at - now.value;
  return left < 1 ? "tried again any moment" : `tried again in ${duration(left)}`;
}

/** One line for each alert and notifier. */
export function Deliveries({ deliveries, historic }: { deliveries: Delivery[]; historic: boolean }): JSX.Element {
  if (deliveries.length === 0) {
    return (
      <p class="muted">
        {historic
          ? "Nobody: it was past already."
          : "Nobody: no notifier is set up for it. See: smartmon config show, smartmon alerts test"}
      </p>
    );
  }
  return (
    <ul class="deliveries">
      {deliveries.map((one) => {
        const [icon, colour, word] = STATES[one.state] ?? ["info", "grey", words(one.state)];
        return (
          <li key={one.id}>
            <Icon name={icon} class={colour} />
            <div>
              <b>
                <Shown text={one.notifier} limit={60} />
              </b>{" "}
              {SAYS[one.kind] ?? words(one.kind)}: {word}{" "}
              <time class="muted" title={exact(one.sent_at ?? one.created_at)}>
                {moment(one.sent_at ?? one.created_at)}
              </time>
              {one.attempts > 1 && <span class="muted">, {plural(one.attempts, "attempt")}</span>}
              {one.next_at !== null && one.state === "pending" && <span class="muted">, {nextTry(one.next_at)}</span>}
              {one.error && (
                <p class="red">
                  <Shown text={one.error} limit={300} />
                </p>
              )}
              <p class="muted">
                id <code>{one.id}</code>, asked for {age(now.value - one.created_at)}
              </p>
            </div>
          </li>
        );
      })}
    </ul>
  );
}
