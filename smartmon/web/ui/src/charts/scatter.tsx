/** Loss against accuracy: a dot for each step, coloured by when it was. */
import type { JSX } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";

import type { SeriesAnswer, SeriesOne } from "../api";
import { useAsk } from "../ask";
import { percentage, step, value, visible } from "../format";
import { axis, live } from "../store";
import { colour, paint } from "../theme";
import { settled } from "./part";

export interface Dot {
  x: number;
  loss: number;
  accuracy: number;
}

/** Each accuracy with the loss at its place, or just before it, in the same attempt. */
export function pairs(loss: SeriesOne | undefined, accuracy: SeriesOne | undefined): Dot[] {
  const dots: Dot[] = [];
  for (const stretch of accuracy?.attempts ?? []) {
    const other = loss?.attempts.find((one) => one.attempt === stretch.attempt);
    if (!loss || !accuracy || !other) continue;
    let place = other.start;
    for (let index = stretch.start; index < stretch.start + stretch.points; index += 1) {
      const [x, percent] = accuracy.points[index]!;
      if (x == null || percent == null) continue;
      while (place + 1 < other.start + other.points && (loss.points[place + 1]![0] ?? Infinity) <= x) place += 1;
      const [at, level] = loss.points[place]!;
      if (at != null && at <= x && level != null) dots.push({ x, loss: level, accuracy: percent });
    }
  }
  return dots;
}

const PAD = { left: 52, right: 12, top: 10, bottom: 34 };
const TICKS = 5;

interface Frame {
  width: number;
  height: number;
  low: Dot;
  high: Dot;
}

/** The extent of what is drawn; the first losses of a training dwarf the rest, so the highest fiftieth is left out. */
function frameOf(dots: readonly Dot[], width: number, height: number): Frame {
  const losses = dots.map((dot) => dot.loss).sort((a, b) => a - b);
  const accuracies = dots.map((dot) => dot.accuracy);
  const top = losses[Math.floor((losses.length - 1) * 0.98)]!;
  return {
    width,
    height,
    low: { x: dots[0]!.x, loss: losses[0]!, accuracy: Math.min(...accuracies) },
    high: { x: dots.at(-1)!.x, loss: top > losses[0]! ? top : losses[0]! + 1, accuracy: Math.max(...accuracies, Math.min(...accuracies) + 1e-9) },
  };
}

const mix = (from: number[], to: number[], share: number): string =>
  `rgb(${from.map((part, index) => Math.round(part + (to[index]! - part) * share)).join(" ")})`;

const parts = (token: string): number[] => (colour(token).match(/[\d.]+/g) ?? []).slice(0, 3).map(Number);

function draw(canvas: HTMLCanvasElement, dots: readonly Dot[], width: number, height: number): void {
  const ratio = devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const ctx = canvas.getContext("2d");
  if (!ctx || dots.length === 0) return;
  ctx.scale(ratio, ratio);
  const { low, high } = frameOf(dots, width, height);
  const x = (loss: number) => PAD.left + ((loss - low.loss) / (high.loss - low.loss)) * (width - PAD.left - PAD.right);
  const y = (percent: number) => height - PAD.bottom - ((percent - low.accuracy) / (high.accuracy - low.accuracy)) * (height - PAD.top - PAD.bottom);
  ctx.font = "11px system-ui, sans-serif";
  ctx.fillStyle = colour("muted");
  ctx.strokeStyle = colour("grid");
  for (let tick = 0; tick < TICKS; tick += 1) {
    const share = tick / (TICKS - 1);
    const loss = low.loss + (high.loss - low.loss) * share;
    const percent = low.accuracy + (high.accuracy - low.accuracy) * share;
    ctx.beginPath();
    ctx.moveTo(x(loss), PAD.top);
    ctx.lineTo(x(loss), height - PAD.bottom);
    ctx.moveTo(PAD.left, y(percent));
    ctx.lineTo(width - PAD.right, y(percent));
    ctx.stroke();
    ctx.textAlign = tick === 0 ? "left" : tick === TICKS - 1 ? "right" : "center";
    ctx.fillText(value(loss, 3), x(loss), height - PAD.bottom + 14);
    ctx.textAlign = "right";
    ctx.fillText(percentage(percent, 0), PAD.left - 6, y(percent) + 4);
  }
  ctx.textAlign = "center";
  ctx.fillText("loss", (PAD.left + width - PAD.right) / 2, height - 4);
  const [from, to] = [parts("scatter-from"), parts("scatter-to")];
  dots.forEach((dot, index) => {
    if (dot.loss > high.loss) return;
    ctx.fillStyle = mix(from, to, index / Math.max(1, dots.length - 1));
    ctx.beginPath();
    ctx.arc(x(dot.loss), y(dot.accuracy), 2, 0, 2 * Math.PI);
    ctx.fill();
  });
}

/** What is drawn, for export. */
export type ScatterHandle = { current: { canvas: HTMLCanvasElement; dots: readonly Dot[] } | null };

export function Scatter({ run, handle }: { run: string; handle: ScatterHandle }): JSX.Element {
  const canvas = useRef<HTMLCanvasElement>(null);
  const range = settled.value;
  const query = { run, metric: ["loss", "accuracy"], x: axis.value, from: range?.from, to: range?.to === Infinity ? undefined : range?.to, max_points: 2000 };
  const { answer, trouble } = useAsk<SeriesAnswer>("series", query, { live: live.value, every: 3000 });
  const dots = useMemo(() => pairs(answer?.series[0], answer?.series[1]), [answer]);
  const painted = paint.value;
  useEffect(() => {
    const element = canvas.current;
    const host = element?.parentElement;
    handle.current = element && { canvas: element, dots };
    if (!element || !host) return;
    const again = () => draw(element, dots, host.clientWidth, 240);
    const observer = new ResizeObserver(again);
    observer.observe(host);
    return () => observer.disconnect();
  }, [dots, painted]);
  if (!answer) return <p class="empty plot-wait">{trouble ? visible(trouble) : "Asking\u2026"}</p>;
  if (dots.length === 0) return <p class="empty">No step has both in this part.</p>;
  const words = axis.value === "step" ? [`step ${step(dots[0]!.x)}`, `step ${step(dots.at(-1)!.x)}`] : ["early", "late"];
  return (
    <div class="chart scatter">
      <div class="values">
        <span>
          {words[0]} <i class="scatter-scale" /> {words[1]}
        </span>
      </div>
      <canvas ref={canvas} role="img" aria-label={`${dots.length} steps by loss and accuracy`} />
    </div>
  );
}
