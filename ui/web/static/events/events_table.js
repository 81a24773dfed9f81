// The table of events, from which a person chooses one by click or by keys.
import { node, percent, when } from "../api.js";
import { endedBecause, labelOf, lasted, reviewOf } from "./events_text.js";

const columns = ["Time", "Camera", "Label", "Lasted", "Peak", "Reviewed"];

export class EventTable {
  /** `choose` is called with the id of an event. */
  constructor(choose) {
    this.choose = choose;
    this.events = new Map(); // by id, in the order shown
    this.chosen = "";
    this.body = node("tbody", { role: "rowgroup", keydown: (event) => this.#key(event) });
    const heads = columns.map((name) => node("th", { scope: "col", role: "columnheader" }, name));
    this.node = node(
      "table",
      { class: "aw-table aw-event-table", role: "table", "aria-label": "Events" },
      node("thead", { role: "rowgroup" }, node("tr", { role: "row" }, ...heads)),
      this.body,
    );
  }

  show(events) {
    const focused = this.body.contains(document.activeElement)
      ? document.activeElement.closest("tr").dataset.id
      : "";
    this.events = new Map(events.map((event) => [event.id, event]));
    this.body.replaceChildren(...events.map((event) => this.#row(event)));
    this.#rowOf(focused)?.querySelector("button").focus();
  }

  /** Newer facts of an event, if it is shown; whether it is. */
  update(event) {
    const before = this.events.get(event.id);
    if (!before) return false;
    const after = { ...before, ...event };
    this.events.set(event.id, after);
    const row = this.#rowOf(event.id);
    const hadFocus = row.contains(document.activeElement);
    const fresh = this.#row(after);
    row.replaceWith(fresh);
    if (hadFocus) fresh.querySelector("button").focus();
    return true;
  }

  /** Somebody deleted it. It stays until the next list, so that no row moves under a pointer. */
  strike(id) {
    const row = this.#rowOf(id);
    row?.classList.add("aw-gone");
    row?.lastElementChild.replaceChildren("deleted");
  }

  mark(id) {
    this.chosen = id;
    for (const row of this.body.rows) this.#tellChosen(row);
  }

  /** Events that go on get older. */
  tick() {
    for (const event of this.events.values()) {
      if (event.end === null) this.#rowOf(event.id).cells[3].replaceChildren(lasted(event));
    }
  }

  #row(event) {
    const open = node("button", { type: "button", class: "aw-link" }, when(event.start));
    const why = endedBecause(event);
    const cells = [
      open,
      event.camera,
      labelOf(event),
      why ? node("span", { title: why }, `${lasted(event)}, cut off`) : lasted(event),
      percent(event.peak),
      reviewOf(event),
    ].map((content, index) => node("td", { role: "cell", "data-column": columns[index] }, content));
    const row = node(
      "tr",
      { role: "row", "data-id": event.id, click: () => this.choose(event.id) },
      ...cells,
    );
    this.#tellChosen(row);
    return row;
  }

  #tellChosen(row) {
    const isChosen = row.dataset.id === this.chosen;
    row.classList.toggle("aw-chosen", isChosen);
    row.querySelector("button").toggleAttribute("aria-current", isChosen);
  }

  #rowOf(id) {
    return [...this.body.rows].find((row) => row.dataset.id === id);
  }

  #key(event) {
    const rows = [...this.body.rows];
    const here = rows.indexOf(event.target.closest("tr"));
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined || !rows[to]) return;
    event.preventDefault();
    rows[to].querySelector("button").focus();
  }
}
