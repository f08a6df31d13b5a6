/** Who was told of an incident, and whether it arrived. */
import type { JSX } from "preact";

import type { Delivery } from "../api";
import { age, exact, moment, plural, words } from "../format";
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
              </b>
              : {words(one.kind)} {word}{" "}
              <time class="muted" title={exact(one.sent_at ?? one.created_at)}>
                {moment(one.sent_at ?? one.created_at)}
              </time>
              {one.attempts > 1 && <span class="muted">, {plural(one.attempts, "attempt")}</span>}
              {one.next_at !== null && one.state === "pending" && (
                <span class="muted">, next in {Math.max(0, Math.round(one.next_at - now.value))} s</span>
              )}
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
