/** What holds for all charts: the axis, how smooth, what part, what is marked. */
import type { JSX } from "preact";

import type { Axis } from "../api";
import { duration, grouped, moment } from "../format";
import { Icon } from "../icons";
import { remembered } from "../settings";
import { AXES, axis, chooseAxis, stats, zoom, type Zoom } from "../store";
import { kind, slider, smoothing, words } from "./smoothing";

export const marked = remembered("marks", true);
export const helped = remembered("help", true);

const AXIS_WORDS: Record<Axis, string> = {
  step: "step",
  position: "steps end to end",
  elapsed: "time elapsed",
  time: "time of day",
};

/** All of the axis, as far as it is known without asking: for zooming by buttons from the whole. */
function whole(): Zoom | null {
  const one = stats.value;
  if (!one || one.step === null) return null;
  const started = one.started_at ?? 0;
  const ended = one.updated_at ?? started;
  if (axis.value === "time") return { from: started, to: ended };
  if (axis.value === "elapsed") return { from: 0, to: ended - started };
  return { from: 0, to: one.step };
}

export function zoomBy(factor: number): void {
  const now = zoom.value ?? whole();
  if (!now) return;
  const middle = (now.from + now.to) / 2;
  zoom.value = { from: middle - (middle - now.from) * factor, to: middle + (now.to - middle) * factor };
}

export function panBy(part: number): void {
  const now = zoom.value ?? whole();
  if (!now) return;
  const by = (now.to - now.from) * part;
  zoom.value = { from: now.from + by, to: now.to + by };
}

/** The newest part: the last 500 steps, or as much time as they take. */
function lastPart(): void {
  const all = whole();
  const pace = stats.value?.steps_per_sec.average;
  if (!all) return;
  const width = axis.value === "step" || axis.value === "position" ? 500 : pace ? 500 / pace : (all.to - all.from) / 10;
  zoom.value = { from: Math.max(all.from, all.to - width), to: all.to };
}

function zoomWords(): string {
  const now = zoom.value;
  if (!now) return "all of it";
  if (axis.value === "time") return `${moment(now.from)} to ${moment(now.to)}`;
  if (axis.value === "elapsed") return `${duration(now.from)} to ${duration(now.to)}`;
  return `${grouped(now.from)} to ${grouped(now.to)}`;
}

function AxisChoice(): JSX.Element {
  return (
    <label>
      Over
      <select class="field" value={axis.value} onChange={(event) => chooseAxis(event.currentTarget.value as Axis)}>
        {AXES.map((one) => (
          <option key={one} value={one}>
            {AXIS_WORDS[one]}
          </option>
        ))}
      </select>
    </label>
  );
}

function SmoothChoice(): JSX.Element {
  return (
    <>
      <label>
        Smooth
        <select class="field" value={smoothing.value} onChange={(event) => (kind.value = event.currentTarget.value)}>
          <option value="ema">fading mean (EMA)</option>
          <option value="mean">even mean</option>
          <option value="off">off</option>
        </select>
      </label>
      {smoothing.value !== "off" && (
        <label>
          <input
            type="range"
            min={0}
            max={100}
            value={slider.value}
            aria-label="How smooth"
            aria-valuetext={words.value}
            onInput={(event) => (slider.value = Number(event.currentTarget.value))}
          />
          <span class="num">{words.value}</span>
        </label>
      )}
    </>
  );
}

function ZoomButtons(): JSX.Element {
  const button = (sign: string, label: string, act: () => void) => (
    <button type="button" class="button" onClick={act} aria-label={label} title={label}>
      {sign}
    </button>
  );
  return (
    <span class="group" role="group" aria-label="Part that is shown">
      {button("\u2190", "Earlier", () => panBy(-0.5))}
      {button("\u2212", "Show more", () => zoomBy(2))}
      {button("+", "Closer", () => zoomBy(0.5))}
      {button("\u2192", "Later", () => panBy(0.5))}
      <button type="button" class="button" onClick={lastPart}>
        Last 500
      </button>
      <button type="button" class="button" disabled={zoom.value === null} onClick={() => (zoom.value = null)}>
        All
      </button>
      <span>{zoomWords()}</span>
    </span>
  );
}

export function Toolbar(): JSX.Element {
  return (
    <div class="toolbar" role="toolbar" aria-label="Charts" id="charts">
      <h2>Charts</h2>
      <AxisChoice />
      <SmoothChoice />
      <ZoomButtons />
      <span class="group end">
        <button type="button" class="button" aria-pressed={marked.value} onClick={() => (marked.value = !marked.value)}>
          <Icon name="flag" />
          Marks
        </button>
        <button type="button" class="button" aria-pressed={helped.value} onClick={() => (helped.value = !helped.value)}>
          <Icon name="help" />
          Help
        </button>
      </span>
    </div>
  );
}

/** What the marks mean. */
export function MarksKey(): JSX.Element {
  return (
    <p class="marks-key">
      <span class="blue">&#9589; checkpoint</span>
      <span class="teal">&#9670; snapshot kept</span>
      <span class="green">&#9671; best model</span>
      <span class="orange">&#9670; warning</span>
      <span class="red">&#9670; critical, &#9644; incident, &#10005; NaN</span>
      <span class="purple">&#9478; attempt</span>
      <span class="by-mouse">Drag to look closer in all charts, double-click for all.</span>
    </p>
  );
}
