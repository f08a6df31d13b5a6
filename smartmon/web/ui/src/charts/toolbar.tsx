/** What holds for all charts: the axis, how smooth, what part, what is marked. */
import type { JSX } from "preact";

import type { Axis } from "../api";
import { grouped, moment, stopwatch, ticks } from "../format";
import { Icon } from "../icons";
import { remembered } from "../settings";
import { AXES, axis, chooseAxis, zoom } from "../store";
import { lastPart, panBy, zoomBy } from "./part";
import { kind, slider, smoothing, words } from "./smoothing";

export const marked = remembered("marks", true);
export const helped = remembered("help", true);

const AXIS_WORDS: Record<Axis, string> = {
  step: "step",
  position: "steps end to end",
  elapsed: "time elapsed",
  time: "time of day",
};

function zoomWords(): string {
  const now = zoom.value;
  if (!now) return "all of it";
  if (axis.value === "time") return `${moment(now.from)} to ${moment(now.to)}`;
  if (axis.value === "elapsed") return ticks([now.from, now.to], stopwatch).join(" to ");
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
          <option value="ema">EMA</option>
          <option value="mean">moving average</option>
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
      <span class="part">{zoomWords()}</span>
    </span>
  );
}

export function Toolbar(): JSX.Element {
  return (
    <div class="toolbar" role="toolbar" aria-label="Charts">
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
      <span class="by-mouse">Drag to look closer in all charts, double-click for all; Ctrl and the wheel zoom, Shift and the wheel move.</span>
      <span class="by-touch">Two fingers look closer in all charts, one moves along, a double tap shows all.</span>
    </p>
  );
}
