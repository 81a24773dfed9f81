// What a trial of thresholds is told as: a sentence that adds up, notes, and a table by label.
import { node, when } from "../api.js";

/** How many events there would be, and what becomes of each that is in the log. */
export function saidOf(tried) {
  const sum = (kind) => tried.labels.reduce((total, one) => total + one[kind], 0);
  const [logged, would] = [sum("logged"), sum("would")];
  const unsure = logged - tried.lost - tried.moved - tried.same - tried.ongoing;
  const parts = [
    `${tried.added} new`,
    `${tried.lost} gone`,
    `${tried.moved} at other times`,
    `${tried.same} as they are`,
  ];
  if (tried.ongoing) parts.push(`${tried.ongoing} still going on`);
  if (unsure > 0) parts.push(`${unsure} not compared, as their scores are not all kept`);
  return [
    node("strong", {}, `${would} ${would === 1 ? "event" : "events"}`),
    ` with these thresholds, ${logged} in the log: ${parts.join(", ")}.`,
  ];
}

/** What one should know of a trial: sentences, each as its pieces. */
export function notesOf({ cut_at: cutAt, notes }) {
  const sentences = notes.map((note) => [note]);
  if (cutAt === null) return sentences;
  const words =
    "That is more than can be tried at once: only the newest part of it was looked at, from ";
  return [[words, when(new Date(cutAt * 1000).toISOString()), " on."], ...sentences];
}

export function tableOf(labels) {
  const heads = ["Label", "In the log", "Would be", "New", "Gone", "Moved"];
  const row = ({ label, logged, would, added, lost, moved }) =>
    node(
      "tr",
      {},
      node("th", { scope: "row" }, label),
      ...[logged, would, added, lost, moved].map((count) => node("td", {}, String(count))),
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
  const kinds = { same: "as it is", added: "new", lost: "gone", moved: "at another time" };
  const entry = ([kind, name]) =>
    node("li", {}, node("span", { class: `aw-swatch aw-${kind}`, "aria-hidden": "true" }), name);
  return node("ul", { class: "aw-tuning-legend" }, ...Object.entries(kinds).map(entry));
}

/** Why there is nothing to try thresholds on. */
export function missing(state) {
  if (!state.keeps_scores)
    return "Scores are not kept (retention.scores is 0s), so nothing can be tried on them.";
  if (!state.model) return "The model is not ready yet.";
  return "No scores are kept yet. They come by themselves as the model looks at the cameras.";
}
