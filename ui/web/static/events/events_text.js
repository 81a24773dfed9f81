// What an event is in words: as the table, the detail and the timeline say it.
import { lasting, node } from "../api.js";

const cutOff = {
  stop: "the watch was stopped",
  gap: "nothing was seen for a while",
  crash: "the watch broke off",
};

/** How long it lasted, or has so far; `now` is in milliseconds. */
export function lasted(event, now = Date.now()) {
  const end = event.end === null ? now : Date.parse(event.end);
  const seconds = Math.max(0, (end - Date.parse(event.start)) / 1000);
  return event.end === null ? `going on, ${lasting(seconds)}` : lasting(seconds);
}

/** Why an event ended where it did; "" for one that ended by itself. */
export const endedBecause = (event) => cutOff[event.closed_by] ?? "";

/** What the model said, and what a person made of it. */
export function labelOf(event) {
  if (!event.corrected) return node("span", {}, event.label);
  return node(
    "span",
    {},
    node("span", { class: "aw-quiet" }, event.label),
    node("span", { "aria-hidden": "true" }, " → "),
    node("span", { class: "aw-hidden" }, " corrected to "),
    event.corrected,
  );
}

/** Whether somebody looked at it, in a word. */
export function reviewOf(event) {
  const word = event.verdict || "not yet";
  const text = node("span", { class: event.verdict ? `aw-${event.verdict}` : "aw-quiet" }, word);
  return event.note ? node("span", {}, text, node("span", { class: "aw-quiet" }, ", note")) : text;
}
