// The table of events; a row is selected by click or keyboard.
import { node, percent, localTime } from "../api.js";
import { durationOf, endReason, labelOf, reviewOf } from "./events_text.js";

const columns = ["Time", "Camera", "Label", "Duration", "Peak", "Review"];

export class EventTable {
  /** `onSelect` is called with the id of an event. */
  constructor(onSelect) {
    this.onSelect = onSelect;
    this.events = new Map(); // by id, in the order shown
    this.selected = "";
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

  /** Update an event; false if it is not in the table. */
  update(event) {
    const before = this.events.get(event.id);
    if (!before) return false;
    const after = { ...before, ...event };
    this.events.set(event.id, after);
    const row = this.#rowOf(event.id);
    const hadFocus = row.contains(document.activeElement);
    const updated = this.#row(after);
    row.replaceWith(updated);
    if (hadFocus) updated.querySelector("button").focus();
    return true;
  }

  /** Mark an event as deleted. It stays until the next load: rows must not move under the mouse. */
  markDeleted(id) {
    const row = this.#rowOf(id);
    row?.classList.add("aw-deleted");
    row?.lastElementChild.replaceChildren("deleted");
  }

  select(id) {
    this.selected = id;
    for (const row of this.body.rows) this.#updateSelected(row);
  }

  /** Update the durations of open events. */
  tick() {
    for (const event of this.events.values()) {
      if (event.end === null) this.#rowOf(event.id).cells[3].replaceChildren(durationOf(event));
    }
  }

  #row(event) {
    const open = node("button", { type: "button", class: "aw-link" }, localTime(event.start));
    const reason = endReason(event);
    const cells = [
      open,
      event.camera,
      labelOf(event),
      reason ? `${durationOf(event)} (${reason})` : durationOf(event),
      percent(event.peak),
      reviewOf(event),
    ].map((content, index) => node("td", { role: "cell", "data-column": columns[index] }, content));
    const row = node(
      "tr",
      { role: "row", "data-id": event.id, click: () => this.onSelect(event.id) },
      ...cells,
    );
    this.#updateSelected(row);
    return row;
  }

  #updateSelected(row) {
    const isSelected = row.dataset.id === this.selected;
    row.classList.toggle("aw-selected", isSelected);
    row.querySelector("button").toggleAttribute("aria-current", isSelected);
  }

  #rowOf(id) {
    return [...this.body.rows].find((row) => row.dataset.id === id);
  }

  #key(event) {
    const rows = [...this.body.rows];
    const index = rows.indexOf(event.target.closest("tr"));
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: rows.length - 1 }[
      event.key
    ];
    if (to === undefined || !rows[to]) return;
    event.preventDefault();
    rows[to].querySelector("button").focus();
  }
}
