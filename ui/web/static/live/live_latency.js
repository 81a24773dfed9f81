// How old a prediction is when it is seen, part by part: a bar of parts, and a table of them.
import { node } from "../api.js";

const PARTS = {
  waiting: "Reading the picture, and waiting until the model looks",
  line: "To the model and back",
  inference: "The model thinks",
  judge: "Deciding whether it is an event",
  browser: "To this browser, there and back, and drawing",
};

export class Latency {
  constructor() {
    this.bar = node("div", { class: "aw-bar", "aria-hidden": "true" });
    this.rows = node("tbody");
    this.about = node("p", { class: "aw-quiet" });
    this.root = node(
      "details",
      { class: "aw-latency" },
      node("summary", {}, "How old is what I see?"),
      this.about,
      this.bar,
      node("div", { class: "aw-scroll" }, node("table", { class: "aw-table" }, head(), this.rows)),
    );
  }

  /** The newest state of the camera that is shown large, with the browser's own part. */
  tell(state, drawMs) {
    if (!this.root.open || !state?.camera) return;
    if (!state.stages.length) {
      this.about.textContent = "There has been no prediction yet.";
      this.bar.replaceChildren();
      this.rows.replaceChildren();
      return;
    }
    const own = Math.round(state.way_ms + (drawMs ?? 0));
    const parts = [...state.stages, ["browser", own, null, null]];
    const whole = parts.reduce((sum, [, last]) => sum + last, 0);
    this.about.textContent =
      `The last prediction was ${whole} ms old when you saw it; it stays until the next one. ` +
      `The picture beside it is about ${Math.round((state.picture_ms ?? 0) + own)} ms old.`;
    this.bar.replaceChildren(...parts.map(([part, last]) => piece(part, last / (whole || 1))));
    this.rows.replaceChildren(...parts.map(row));
  }
}

function head() {
  const names = ["Part of the way", "The last one", "Usually", "1 in 20 takes over"];
  return node(
    "thead",
    {},
    node("tr", {}, ...names.map((name) => node("th", { scope: "col" }, name))),
  );
}

function piece(part, share) {
  const made = node("span", { "data-part": part });
  made.style.flexGrow = String(share);
  return made;
}

function row([part, last, usual, most]) {
  return node(
    "tr",
    {},
    node(
      "td",
      {},
      node("span", { class: "aw-patch", "data-part": part, "aria-hidden": "true" }),
      PARTS[part],
    ),
    node("td", {}, `${last} ms`),
    node("td", {}, usual === null ? "–" : `${usual} ms`),
    node("td", {}, most === null ? "–" : `${most} ms`),
  );
}
