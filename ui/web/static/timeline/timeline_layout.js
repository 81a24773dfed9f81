// Where events are in the chart: sub-rows, bars, and blocks of what is too narrow. Pure.

const mostRows = 6; // of a lane; what overlaps more is drawn as blocks
const narrowest = 4; // pixels of a bar
const readable = 6; // pixels from which on a bar stands alone, even beside others
const widestBlock = 32; // pixels, so that blocks show where more happened
const minute = 60_000,
  hour = 60 * minute;
const steps = [
  ...[1, 2, 5, 10, 15, 30].map((seconds) => 1000 * seconds),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * minute),
  ...[1, 2, 3, 6, 12].map((hours) => hours * hour),
];

/** Events by their start -> rows of them in which none overlaps, as far as there are rows. */
export function rowsOf(events) {
  const rows = [];
  for (const event of events) {
    const free = rows.find((row) => row.at(-1).to <= event.from);
    if (free) free.push(event);
    else if (rows.length < mostRows) rows.push([event]);
    else rows.at(-1).push(event);
  }
  return rows;
}

/**
 * The bars of a row, [{x, width, events}] in pixels, for a view {from, to} in milliseconds that is
 * `width` pixels wide. What would lie on each other, or be too narrow to tell apart, is one block.
 */
export function barsOf(row, view, width) {
  const scale = width / (view.to - view.from);
  const bars = [];
  for (const event of row) {
    if (event.to < view.from || event.from > view.to) continue;
    const x = Math.max(0, (event.from - view.from) * scale);
    const right = Math.min(width, (event.to - view.from) * scale);
    const wide = Math.max(narrowest, right - x);
    const last = bars.at(-1);
    const end = last ? last.x + last.width : -Infinity;
    const isNarrow = wide < readable || last?.width < readable || x < end - 1;
    const together = last && Math.max(end, x + wide) - last.x;
    const isFull = together > widestBlock && wide < readable;
    if (x < end + 1 && isNarrow && !isFull) {
      last.width = together;
      last.events.push(event);
    } else {
      // Beside a full block, at most a few pixels from where it is.
      const left = isFull ? Math.max(x, Math.min(end, x + readable)) : x;
      bars.push({ x: Math.min(left, width - narrowest), width: wide, events: [event] });
    }
  }
  return bars;
}

/** Moments of the axis, round ones of the viewer's clock, at least `apart` pixels from another. */
export function ticksOf(view, width, apart) {
  const scale = width / (view.to - view.from);
  const step = steps.find((one) => one * scale >= apart) ?? 24 * hour;
  const ahead = new Date(view.from).getTimezoneOffset() * -minute;
  const ticks = [];
  let moment = Math.ceil((view.from + ahead) / step) * step - ahead;
  for (; moment <= view.to; moment += step) ticks.push({ moment, x: (moment - view.from) * scale });
  return { step, ticks };
}

/** A view inside of `whole`, not shorter than ten seconds. */
export function within(view, whole) {
  const span = Math.min(whole.to - whole.from, Math.max(10_000, view.to - view.from));
  const middle = (view.from + view.to) / 2;
  const from = Math.min(Math.max(whole.from, middle - span / 2), whole.to - span);
  return { from, to: from + span };
}

/** `view` made wider or narrower round a moment. */
export function zoomed(view, factor, moment) {
  return { from: moment - (moment - view.from) * factor, to: moment + (view.to - moment) * factor };
}
