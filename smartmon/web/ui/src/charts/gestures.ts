/**
 * Hands on a chart besides the mouse's drag. Fingers: two zoom, one moves sideways through what is zoomed, a double
 * tap shows all. Up and down stay the page's own (`touch-action: pan-y`), so a chart never holds a scroll.
 * Wheels: with Ctrl, or a pinch on a touchpad, they zoom; sideways, or with Shift, they move. A plain wheel scrolls.
 */
import type uPlot from "uplot";

export interface Gestured {
  /** What part of x is shown; null is all there is. */
  range: () => { from: number; to: number } | null;
  moved: (from: number, to: number) => void;
  reset: () => void;
}

const DOUBLE_TAP = 350;
const SLOP = 10;
/** How much a notch of the wheel, about 100 pixels, zooms. */
const WHEEL = 0.0022;

interface Shown {
  from: number;
  to: number;
}

const shownBy = (plot: uPlot): Shown => ({ from: plot.scales.x?.min ?? 0, to: plot.scales.x?.max ?? 1 });

/** The part that shows `at` where it was, `factor` times as wide. */
function grown(part: Shown, at: number, factor: number): [number, number] {
  return [at - (at - part.from) * factor, at + (part.to - at) * factor];
}

function wheel(plot: uPlot, hands: Gestured): (event: WheelEvent) => void {
  return (event) => {
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
    const part = shownBy(plot);
    if (event.ctrlKey || event.metaKey) {
      const at = plot.posToVal(event.clientX - plot.over.getBoundingClientRect().left, "x");
      hands.moved(...grown(part, at, Math.exp(event.deltaY * unit * WHEEL)));
    } else {
      const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
      if (!sideways || (!event.shiftKey && Math.abs(event.deltaY) > Math.abs(sideways)) || !hands.range()) return;
      const by = ((part.to - part.from) * sideways * unit) / plot.over.clientWidth;
      hands.moved(part.from + by, part.to + by);
    }
    event.preventDefault();
  };
}

class Fingers {
  private readonly down = new Map<number, number>();
  /** Where the fingers and the plot were when the newest of them came. */
  private begun: { places: number[]; part: Shown } | null = null;
  private tapAt = 0;
  private still = true;

  constructor(
    private readonly plot: uPlot,
    private readonly hands: Gestured,
  ) {}

  readonly comes = (event: PointerEvent): void => {
    if (event.pointerType !== "touch" || this.down.size === 2) return;
    this.down.set(event.pointerId, this.x(event));
    this.still = this.down.size === 1;
    this.begin();
  };

  readonly moves = (event: PointerEvent): void => {
    if (!this.down.has(event.pointerId) || !this.begun) return;
    this.down.set(event.pointerId, this.x(event));
    const [first = 0, second] = [...this.down.values()];
    const { places, part } = this.begun;
    const width = this.plot.over.clientWidth;
    const unit = (part.to - part.from) / width;
    if (second === undefined) {
      const by = first - places[0]!;
      if (Math.abs(by) > SLOP) this.still = false;
      if (this.still) return;
      if (this.hands.range()) this.hands.moved(part.from - by * unit, part.to - by * unit);
      else this.plot.setCursor({ left: first, top: this.plot.over.clientHeight / 2 });
      return;
    }
    const apart = (a: number, b: number) => Math.max(SLOP, Math.abs(a - b));
    const factor = apart(places[0]!, places[1]!) / apart(first, second);
    // What lay between the fingers lies between them still.
    const under = part.from + ((places[0]! + places[1]!) / 2) * unit;
    const from = under - ((first + second) / 2) * unit * factor;
    this.hands.moved(from, from + (part.to - part.from) * factor);
  };

  readonly goes = (event: PointerEvent): void => {
    if (!this.down.delete(event.pointerId)) return;
    if (event.type === "pointerup" && this.still && this.down.size === 0) this.tapped(event.timeStamp);
    this.begin();
  };

  private tapped(at: number): void {
    const twice = at - this.tapAt < DOUBLE_TAP;
    this.tapAt = twice ? 0 : at;
    if (twice) this.hands.reset();
  }

  private begin(): void {
    this.begun = this.down.size ? { places: [...this.down.values()], part: shownBy(this.plot) } : null;
  }

  private x(event: PointerEvent): number {
    return event.clientX - this.plot.over.getBoundingClientRect().left;
  }
}

/** Listens on a plot that can be zoomed; it ends with the plot's own elements. */
export function listen(plot: uPlot, hands: Gestured): void {
  const fingers = new Fingers(plot, hands);
  plot.over.classList.add("gestured");
  plot.over.addEventListener("wheel", wheel(plot, hands), { passive: false });
  plot.over.addEventListener("pointerdown", fingers.comes);
  plot.over.addEventListener("pointermove", fingers.moves);
  for (const end of ["pointerup", "pointercancel"] as const) plot.over.addEventListener(end, fingers.goes);
}
