// Texts about events, shared by table, detail and timeline.
import { formatDuration, node } from "../api.js";

const END_REASONS = { stop: "shutdown", gap: "no data", crash: "crash" };

/** The duration of an event, or so far; `now` is in milliseconds. */
export function durationOf(event, now = Date.now()) {
  const end = event.end === null ? now : Date.parse(event.end);
  const seconds = Math.max(0, (end - Date.parse(event.start)) / 1000);
  return event.end === null ? `open, ${formatDuration(seconds)}` : formatDuration(seconds);
}

/** Why an event was cut off, like "ended: no data"; "" if it ended normally. */
export function endReason(event) {
  const reason = END_REASONS[event.closed_by];
  return reason ? `ended: ${reason}` : "";
}

/** The predicted label, and the corrected one if there is one. */
export function labelOf(event) {
  if (!event.corrected) return node("span", {}, event.label);
  return node(
    "span",
    {},
    node("span", { class: "aw-subdued" }, event.label),
    node("span", { "aria-hidden": "true" }, " → "),
    node("span", { class: "aw-hidden" }, " corrected to "),
    event.corrected,
  );
}

/** The review status in a word. */
export function reviewOf(event) {
  const status = event.verdict || "unreviewed";
  const text = node(
    "span",
    { class: event.verdict ? `aw-${event.verdict}` : "aw-subdued" },
    status,
  );
  return event.note
    ? node("span", {}, text, node("span", { class: "aw-subdued" }, ", note"))
    : text;
}
