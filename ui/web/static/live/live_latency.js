// Latency of the predictions on screen, by stage: a stacked bar and a table.
import { node } from "../api.js";

const STAGES = {
  queueing: "Capture and queueing",
  transport: "Worker round trip",
  inference: "Inference",
  event_detection: "Event detection",
  browser: "Network and rendering",
};

export class Latency {
  constructor() {
    this.bar = node("div", { class: "aw-bar", "aria-hidden": "true" });
    this.rows = node("tbody");
    this.summary = node("p", { class: "aw-subdued" });
    this.root = node(
      "details",
      { class: "aw-latency" },
      node("summary", {}, "Latency"),
      this.summary,
      this.bar,
      node("div", { class: "aw-scroll" }, node("table", { class: "aw-table" }, head(), this.rows)),
    );
  }

  /** Show the latest state of the enlarged camera; `drawMs` is the browser's own drawing time. */
  update(state, drawMs) {
    if (!this.root.open || !state?.camera) return;
    if (!state.stages.length) {
      this.summary.textContent = "No prediction yet.";
      this.bar.replaceChildren();
      this.rows.replaceChildren();
      return;
    }
    const browserMs = Math.round(state.network_ms + (drawMs ?? 0));
    const stages = [...state.stages, ["browser", browserMs, null, null]];
    const total = stages.reduce((sum, [, last]) => sum + last, 0);
    const frameMs = Math.round((state.frame_age_ms ?? 0) + browserMs);
    this.summary.textContent =
      `The latest prediction was ${total} ms old when it was displayed; it stays until the next ` +
      `one. The frame on screen is about ${frameMs} ms old.`;
    this.bar.replaceChildren(...stages.map(([stage, last]) => segment(stage, last / (total || 1))));
    this.rows.replaceChildren(...stages.map(row));
  }
}

function head() {
  const names = ["Stage", "Latest", "p50", "p95"];
  return node(
    "thead",
    {},
    node("tr", {}, ...names.map((name) => node("th", { scope: "col" }, name))),
  );
}

function segment(stage, fraction) {
  const element = node("span", { "data-stage": stage });
  element.style.flexGrow = String(fraction);
  return element;
}

function row([stage, last, p50, p95]) {
  return node(
    "tr",
    {},
    node(
      "td",
      {},
      node("span", { class: "aw-swatch", "data-stage": stage, "aria-hidden": "true" }),
      STAGES[stage],
    ),
    node("td", {}, `${last} ms`),
    node("td", {}, p50 === null ? "–" : `${p50} ms`),
    node("td", {}, p95 === null ? "–" : `${p95} ms`),
  );
}
