/** How full something is: a bar, the figures in words, and an icon where it is alarming. */
import type { JSX } from "preact";

import { Icon } from "../icons";
import { Past, type PastOf } from "./past";

interface MeterProps {
  name: string;
  /** 0 to 1; null: there is no telling of what. */
  share: number | null;
  told: string;
  alarm?: boolean;
  past?: PastOf;
}

/** One line. The bar is drawn by attributes of SVG: the page may set no styles of its own. */
export function Meter({ name, share, told, alarm = false, past }: MeterProps): JSX.Element {
  const filled = share === null || !Number.isFinite(share) ? 0 : Math.max(0, Math.min(1, share));
  return (
    <div class={alarm ? "meter alarm" : "meter"}>
      <span class="name">{name}</span>
      {share !== null && (
        <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
          <rect class="rail" width="100" height="8" rx="1" />
          <rect class="fill" width={100 * filled} height="8" rx="1" />
        </svg>
      )}
      <span class="told num">
        {alarm && <Icon name="warning" label="alarming" />} {told}
      </span>
      {past && <Past name={name} past={past} />}
    </div>
  );
}
