// What the timeline says of events: for who points at them, and for who listens.
import { lasting, node, percent } from "../api.js";
import { lasted } from "../events/events_text.js";

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const mostNamed = 4; // labels of a block

/** In a line: what a screen reader says of a bar. */
export function barName(camera, events) {
  const [first] = events;
  if (events.length > 1) return `${camera}: ${events.length} events, ${spanOf(events)}`;
  const said = first.verdict === "rejected" ? ", rejected" : "";
  return `${camera}: ${first.label} at ${clock.format(first.from)}, ${lasted(first)}${said}`;
}

/** In lines: what is shown beside a bar. */
export function tipOf(camera, events) {
  const line = (text) => node("div", {}, text);
  const [first] = events;
  if (events.length > 1)
    return [line(`${events.length} events`), line(spanOf(events)), ...countsOf(events).map(line)];
  return [
    node("strong", {}, first.label),
    line(camera),
    line(`${clock.format(first.from)}, ${lasted(first)}`),
    line(`peak ${percent(first.peak)}${first.verdict ? `, ${first.verdict}` : ""}`),
  ];
}

function spanOf(events) {
  const { from } = events[0];
  const to = Math.max(...events.map((event) => event.to));
  return `${clock.format(from)} to ${clock.format(to)} (${lasting((to - from) / 1000)})`;
}

function countsOf(events) {
  const counts = new Map();
  for (const { label } of events) counts.set(label, (counts.get(label) ?? 0) + 1);
  const most = [...counts].sort((one, other) => other[1] - one[1]);
  const named = most.slice(0, mostNamed).map(([label, count]) => `${count} × ${label}`);
  return most.length > mostNamed
    ? [...named, `and ${most.length - mostNamed} other labels`]
    : named;
}
