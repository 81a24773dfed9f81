// Texts of a policy preview: a summary, notes, and a table by label.
import { node, localTime } from "../api.js";

/** The number of events, and what changes for the events of the log. */
export function summaryOf(preview) {
  const sum = (kind) => preview.labels.reduce((total, counts) => total + counts[kind], 0);
  const [logged, count] = [sum("logged"), sum("preview")];
  const uncompared = logged - preview.removed - preview.moved - preview.unchanged - preview.open;
  const parts = [
    `${preview.added} added`,
    `${preview.removed} removed`,
    `${preview.moved} moved`,
    `${preview.unchanged} unchanged`,
  ];
  if (preview.open) parts.push(`${preview.open} still open`);
  if (uncompared > 0) parts.push(`${uncompared} not compared (scores incomplete)`);
  return [
    node("strong", {}, `${count} ${count === 1 ? "event" : "events"}`),
    ` with these thresholds, ${logged} in the log: ${parts.join(", ")}.`,
  ];
}

/** Notes on a preview: sentences, each as a list of nodes and strings. */
export function notesOf({ truncated_at: truncatedAt, notes }) {
  const sentences = notes.map((note) => [note]);
  if (truncatedAt === null) return sentences;
  const text = "The period has too many scores for one preview; it starts at ";
  return [[text, localTime(new Date(truncatedAt * 1000).toISOString()), "."], ...sentences];
}

export function tableOf(labels) {
  const heads = ["Label", "In the log", "Preview", "Added", "Removed", "Moved"];
  const row = ({ label, logged, preview, added, removed, moved }) =>
    node(
      "tr",
      {},
      node("th", { scope: "row" }, label),
      ...[logged, preview, added, removed, moved].map((count) => node("td", {}, String(count))),
    );
  return node(
    "table",
    { class: "aw-table" },
    node("caption", { class: "aw-hidden" }, "Events by label"),
    node("thead", {}, node("tr", {}, ...heads.map((name) => node("th", { scope: "col" }, name)))),
    node("tbody", {}, ...labels.map(row)),
  );
}

export function legend() {
  const kinds = { unchanged: "unchanged", added: "added", removed: "removed", moved: "moved" };
  const entry = ([kind, name]) =>
    node("li", {}, node("span", { class: `aw-swatch aw-${kind}`, "aria-hidden": "true" }), name);
  return node("ul", { class: "aw-tuning-legend" }, ...Object.entries(kinds).map(entry));
}

/** Why no preview is possible. */
export function unavailableReason(state) {
  if (!state.stores_scores) return "No preview: scores are not stored (retention.scores is 0s).";
  if (!state.model) return "The model is not ready yet.";
  return "No scores are stored yet. They are stored as the model processes the cameras.";
}
