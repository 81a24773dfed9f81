// Colours of labels: the same label has the same one, as long as there are enough of them.
import { node } from "../api.js";

// White can be read on all of them.
const colours = [
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
  /** `changed` is called when other labels are to be seen. */
  constructor(changed) {
    this.changed = changed;
    this.only = ""; // the one label that is to stand out
    this.byLabel = new Map();
    this.places = new Map(); // of all labels that were ever shown: a colour stays its label's
    this.node = node("div", {
      class: "aw-legend",
      role: "group",
      "aria-label": "Labels; press one to see it alone",
    });
  }

  show(labels) {
    const shown = [...labels].sort();
    for (const label of shown)
      if (!this.places.has(label)) this.places.set(label, this.#free(label));
    this.byLabel = new Map(shown.map((label) => [label, colours[this.places.get(label)]]));
    if (!this.byLabel.has(this.only)) this.only = "";
    this.node.replaceChildren(
      ...[...this.byLabel].map(([label, colour]) => this.#item(label, colour)),
    );
  }

  /** A place among the colours that no other label has, while there are enough. */
  #free(label) {
    const taken = new Set(this.places.values());
    let place =
      [...label].reduce((sum, letter) => (31 * sum + letter.codePointAt(0)) % 9973, 7) %
      colours.length;
    while (taken.has(place) && taken.size < colours.length) place = (place + 1) % colours.length;
    return place;
  }

  colourOf(label) {
    return this.byLabel.get(label) ?? colours[9];
  }

  /** Colours of a block: as high as the share of their label. */
  sharesOf(events) {
    const counts = new Map();
    for (const { label } of events) counts.set(label, (counts.get(label) ?? 0) + 1);
    let below = 0;
    const parts = [...counts].sort().map(([label, count]) => {
      const from = below;
      below += (100 * count) / events.length;
      return `${this.colourOf(label)} ${from}% ${below}%`;
    });
    return `linear-gradient(to top, ${parts.join(", ")})`;
  }

  #item(label, colour) {
    const spot = node("span", { class: "aw-spot" });
    spot.style.background = colour;
    const press = () => {
      this.only = this.only === label ? "" : label;
      for (const [one, button] of buttons())
        button.setAttribute("aria-pressed", String(one === this.only));
      this.changed();
    };
    const buttons = () =>
      [...this.byLabel.keys()].map((one, index) => [one, this.node.children[index]]);
    const pressed = String(label === this.only);
    return node(
      "button",
      { type: "button", class: "aw-key", "aria-pressed": pressed, click: press },
      spot,
      label,
    );
  }
}
