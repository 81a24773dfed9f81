// The colors of labels: a label keeps its color; colors are unique while there are enough.
import { node } from "../api.js";

// White text is readable on all of them.
const COLORS = [
  "#1d4ed8",
  "#b91c1c",
  "#15803d",
  "#7e22ce",
  "#a14a07",
  "#0e7490",
  "#be185d",
  "#4d6b0f",
  "#4338ca",
  "#475569",
  "#0f766e",
  "#9f1239",
];

export class Legend {
  /** `onChange` is called when another label is highlighted. */
  constructor(onChange) {
    this.onChange = onChange;
    this.only = ""; // the highlighted label
    this.byLabel = new Map();
    this.colorIndices = new Map(); // by label, for all labels that were ever shown
    this.node = node("div", {
      class: "aw-legend",
      role: "group",
      "aria-label": "Labels; select one to highlight it",
    });
  }

  show(labels) {
    const shown = [...labels].sort();
    for (const label of shown)
      if (!this.colorIndices.has(label)) this.colorIndices.set(label, this.#freeIndex(label));
    this.byLabel = new Map(shown.map((label) => [label, COLORS[this.colorIndices.get(label)]]));
    if (!this.byLabel.has(this.only)) this.only = "";
    this.node.replaceChildren(
      ...[...this.byLabel].map(([label, color]) => this.#item(label, color)),
    );
  }

  /** A color index that no other label has, while there are enough. */
  #freeIndex(label) {
    const taken = new Set(this.colorIndices.values());
    let index =
      [...label].reduce((sum, letter) => (31 * sum + letter.codePointAt(0)) % 9973, 7) %
      COLORS.length;
    while (taken.has(index) && taken.size < COLORS.length) index = (index + 1) % COLORS.length;
    return index;
  }

  colorOf(label) {
    return this.byLabel.get(label) ?? COLORS[9];
  }

  /** The gradient of a block: each label's color covers its fraction of the events. */
  gradientOf(events) {
    const counts = new Map();
    for (const { label } of events) counts.set(label, (counts.get(label) ?? 0) + 1);
    let below = 0;
    const parts = [...counts].sort().map(([label, count]) => {
      const from = below;
      below += (100 * count) / events.length;
      return `${this.colorOf(label)} ${from}% ${below}%`;
    });
    return `linear-gradient(to top, ${parts.join(", ")})`;
  }

  #item(label, color) {
    const swatch = node("span", { class: "aw-swatch" });
    swatch.style.background = color;
    const toggle = () => {
      this.only = this.only === label ? "" : label;
      for (const [one, button] of buttons())
        button.setAttribute("aria-pressed", String(one === this.only));
      this.onChange();
    };
    const buttons = () =>
      [...this.byLabel.keys()].map((one, index) => [one, this.node.children[index]]);
    const pressed = String(label === this.only);
    return node(
      "button",
      { type: "button", class: "aw-legend-item", "aria-pressed": pressed, click: toggle },
      swatch,
      label,
    );
  }
}
