// Texts of the timeline: tooltips and names for screen readers.
import { formatDuration, node, percent } from "../api.js";
import { durationOf } from "../events/events_text.js";

const timeFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const MAX_LABELS = 4; // listed for a block

/** A bar's name for screen readers, in one line. */
export function barName(camera, events) {
  const [first] = events;
  if (events.length > 1) return `${camera}: ${events.length} events, ${spanOf(events)}`;
  const suffix = first.verdict === "rejected" ? ", rejected" : "";
  const time = timeFormat.format(first.from);
  return `${camera}: ${first.label} at ${time}, ${durationOf(first)}${suffix}`;
}

/** A bar's tooltip, as lines. */
export function tipOf(camera, events) {
  const line = (text) => node("div", {}, text);
  const [first] = events;
  if (events.length > 1)
    return [line(`${events.length} events`), line(spanOf(events)), ...countsOf(events).map(line)];
  return [
    node("strong", {}, first.label),
    line(camera),
    line(`${timeFormat.format(first.from)}, ${durationOf(first)}`),
    line(`peak ${percent(first.peak)}${first.verdict ? `, ${first.verdict}` : ""}`),
  ];
}

function spanOf(events) {
  const { from } = events[0];
  const to = Math.max(...events.map((event) => event.to));
  const duration = formatDuration((to - from) / 1000);
  return `${timeFormat.format(from)} to ${timeFormat.format(to)} (${duration})`;
}

function countsOf(events) {
  const counts = new Map();
  for (const { label } of events) counts.set(label, (counts.get(label) ?? 0) + 1);
  const sorted = [...counts].sort((a, b) => b[1] - a[1]);
  const lines = sorted.slice(0, MAX_LABELS).map(([label, count]) => `${count} × ${label}`);
  return sorted.length > MAX_LABELS
    ? [...lines, `and ${sorted.length - MAX_LABELS} other labels`]
    : lines;
}
