// The layout of events in the chart: rows, bars, and blocks of narrow bars. Pure.

const MAX_ROWS = 6; // of a lane; further overlapping events are drawn as blocks
const MIN_BAR_WIDTH = 4; // pixels
const MIN_SINGLE_WIDTH = 6; // pixels; narrower bars are merged into blocks
const MAX_BLOCK_WIDTH = 32; // pixels; dense periods have more blocks
const MINUTE = 60_000,
  HOUR = 60 * MINUTE;
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((seconds) => 1000 * seconds),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR),
];

/** Events sorted by start -> rows without overlap, as far as there are enough rows. */
export function rowsOf(events) {
  const rows = [];
  for (const event of events) {
    const free = rows.find((row) => row.at(-1).to <= event.from);
    if (free) free.push(event);
    else if (rows.length < MAX_ROWS) rows.push([event]);
    else rows.at(-1).push(event);
  }
  return rows;
}

/**
 * The bars of a row, [{x, width, events}] in pixels, for a view {from, to} in milliseconds that is
 * `width` pixels wide. Events that would overlap or be too narrow are merged into one block.
 */
export function barsOf(row, view, width) {
  const scale = width / (view.to - view.from);
  const bars = [];
  for (const event of row) {
    if (event.to < view.from || event.from > view.to) continue;
    const x = Math.max(0, (event.from - view.from) * scale);
    const right = Math.min(width, (event.to - view.from) * scale);
    const barWidth = Math.max(MIN_BAR_WIDTH, right - x);
    const last = bars.at(-1);
    const end = last ? last.x + last.width : -Infinity;
    const isNarrow = barWidth < MIN_SINGLE_WIDTH || last?.width < MIN_SINGLE_WIDTH || x < end - 1;
    const mergedWidth = last && Math.max(end, x + barWidth) - last.x;
    const isFull = mergedWidth > MAX_BLOCK_WIDTH && barWidth < MIN_SINGLE_WIDTH;
    if (x < end + 1 && isNarrow && !isFull) {
      last.width = mergedWidth;
      last.events.push(event);
    } else {
      // Next to a full block, at most a few pixels from its true position.
      const left = isFull ? Math.max(x, Math.min(end, x + MIN_SINGLE_WIDTH)) : x;
      bars.push({ x: Math.min(left, width - MIN_BAR_WIDTH), width: barWidth, events: [event] });
    }
  }
  return bars;
}

/** Ticks of the axis at round local times, at least `minDistance` pixels apart. */
export function ticksOf(view, width, minDistance) {
  const scale = width / (view.to - view.from);
  const step = STEPS.find((step) => step * scale >= minDistance) ?? 24 * HOUR;
  const offset = new Date(view.from).getTimezoneOffset() * -MINUTE;
  const ticks = [];
  let time = Math.ceil((view.from + offset) / step) * step - offset;
  for (; time <= view.to; time += step) ticks.push({ time, x: (time - view.from) * scale });
  return { step, ticks };
}

/** The view clamped to `whole` and to at least ten seconds. */
export function within(view, whole) {
  const span = Math.min(whole.to - whole.from, Math.max(10_000, view.to - view.from));
  const center = (view.from + view.to) / 2;
  const from = Math.min(Math.max(whole.from, center - span / 2), whole.to - span);
  return { from, to: from + span };
}

/** `view` zoomed by `factor` around `time`. */
export function zoomed(view, factor, time) {
  return { from: time - (time - view.from) * factor, to: time + (view.to - time) * factor };
}
