// <aw-timeline>: the events of a day by camera, as a chart with links to the events.
import {
  button,
  get,
  node,
  openTab,
  ownStyle,
  percent,
  localTime,
  pollWhileVisible,
} from "../api.js";
import { durationOf, labelOf } from "../events/events_text.js";
import { subscribe } from "../events/events_live.js";
import { Chart } from "./timeline_chart.js";
import { Legend } from "./timeline_legend.js";

const MAX_TABLE_ROWS = 200;
const dayFormat = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

class Timeline extends HTMLElement {
  #isStale = false; // updates arrived since the last load
  #isNewDay = false; // the events of the chosen day are not here yet
  #loads = 0;

  connectedCallback() {
    ownStyle(this);
    this.lanes = [];
    this.legend = new Legend(() => this.#draw());
    this.chart = new Chart(this.legend, {
      onOpen: (event) => openTab("Events", `event=${event.id}`),
      onViewChange: () => this.#onViewChange(),
    });
    this.#layOut();
    this.unsubscribe = subscribe(
      this,
      () => (this.#isStale = true),
      () => (this.#isStale = true),
    );
    pollWhileVisible(this, 2000, () => this.#tick());
    this.#showDay(new Date());
  }

  disconnectedCallback() {
    this.unsubscribe();
    clearTimeout(this.reloadTimer);
  }

  #layOut() {
    this.day = node("input", {
      type: "date",
      change: () => this.#showDay(asDate(this.day.value)),
    });
    this.next = button("▶", () => this.#step(1), { "aria-label": "Next day" });
    const { chart } = this;
    const bar = node(
      "div",
      { class: "aw-row aw-timeline-bar" },
      button("◀", () => this.#step(-1), { "aria-label": "Previous day" }),
      node("label", { class: "aw-field" }, "Day", this.day),
      this.next,
      button("Today", () => this.#showDay(new Date())),
      node("span", { class: "aw-space" }),
      button("−", () => chart.zoom(2), { "aria-label": "Zoom out" }),
      button("+", () => chart.zoom(0.5), { "aria-label": "Zoom in" }),
      button("Whole day", () => chart.setView(chart.whole)),
    );
    this.summary = node("p", { class: "aw-subdued", role: "status" });
    this.error = node("p", { class: "aw-error", role: "alert" });
    this.rows = node("tbody");
    const heads = ["Time", "Camera", "Label", "Duration", "Peak"].map((name) =>
      node("th", { scope: "col" }, name),
    );
    this.table = node(
      "details",
      { class: "aw-timeline-table", toggle: () => this.#fillTable() },
      node("summary", {}, "Show as table"),
      node(
        "div",
        { class: "aw-scroll", tabindex: 0, role: "region", "aria-label": "Events in this period" },
        node(
          "table",
          { class: "aw-table" },
          node("thead", {}, node("tr", {}, ...heads)),
          this.rows,
        ),
      ),
    );
    this.replaceChildren(bar, this.summary, this.error, chart.node, this.legend.node, this.table);
  }

  #step(days) {
    const day = asDate(this.day.value);
    this.#showDay(new Date(day.getFullYear(), day.getMonth(), day.getDate() + days));
  }

  #showDay(day) {
    if (Number.isNaN(day.getTime())) return;
    const [year, month, date] = [day.getFullYear(), day.getMonth(), day.getDate()];
    const whole = { from: +new Date(year, month, date), to: +new Date(year, month, date + 1) };
    this.day.value = [String(year).padStart(4, "0"), month + 1, date]
      .map((part) => String(part).padStart(2, "0"))
      .join("-");
    this.isToday = whole.from <= Date.now() && Date.now() < whole.to;
    this.next.disabled = whole.to > Date.now();
    clearTimeout(this.reloadTimer);
    this.chart.whole = this.chart.view = whole;
    this.loaded = { ...whole, isComplete: true, isDay: true };
    this.lanes = [];
    this.#isNewDay = true;
    this.error.textContent = "";
    this.#draw();
    this.#load(whole);
  }

  async #load(span) {
    const load = ++this.#loads;
    this.#isStale = false;
    const query = new URLSearchParams({ since: iso(span.from), until: iso(span.to) });
    try {
      const { lanes, omitted } = await get(`api/timeline?${query}`);
      if (load !== this.#loads) return;
      this.error.textContent = "";
      const { whole } = this.chart;
      const isDay = span.from === whole.from && span.to === whole.to;
      this.loaded = { ...span, isComplete: Object.keys(omitted).length === 0, isDay };
      this.lanes = lanes;
      this.omittedCount = Object.values(omitted).reduce((sum, count) => sum + count, 0);
      if (this.#isNewDay) this.#fit();
      this.#isNewDay = false;
      this.#draw();
    } catch (error) {
      if (load !== this.#loads) return;
      this.error.textContent = `Events can't be loaded: ${error.message}`;
      this.#showSummary();
    }
  }

  /** Zoom in, if all events are in a small part of the day. */
  #fit() {
    const { whole } = this.chart;
    const events = this.lanes.flatMap((lane) => lane.events);
    if (!events.length) return;
    const from = Math.max(whole.from, Math.min(...events.map((event) => Date.parse(event.start))));
    const to = Math.max(...events.map((event) => timed(event).to));
    const margin = Math.max(60_000, 0.05 * (to - from));
    if (to - from + 2 * margin < (whole.to - whole.from) / 4)
      this.chart.setView({ from: from - margin, to: to + margin });
  }

  #draw() {
    const lanes = this.lanes.map(({ camera, events }) => ({ camera, events: events.map(timed) }));
    this.legend.show(new Set(lanes.flatMap((lane) => lane.events.map((event) => event.label))));
    this.chart.show(lanes);
    this.#showSummary();
    this.#fillTable();
  }

  #showSummary() {
    const text = this.#isNewDay ? this.#loadingText() : this.#countText();
    if (this.summary.textContent !== text) this.summary.textContent = text;
  }

  #loadingText() {
    return this.error.textContent ? "" : "Loading events …";
  }

  #countText() {
    const count = this.lanes.reduce((sum, lane) => sum + lane.events.length, 0) + this.omittedCount;
    const events = count === 1 ? "1 event" : `${count.toLocaleString()} events`;
    const period = this.loaded.isDay ? dayFormat.format(this.chart.whole.from) : "in this view";
    const omitted = this.omittedCount
      ? `; the oldest ${this.omittedCount.toLocaleString()} are not shown, zoom in to see them`
      : "";
    return `${count ? events : "No events"}: ${period}${omitted}`;
  }

  #onViewChange() {
    clearTimeout(this.reloadTimer);
    this.reloadTimer = setTimeout(() => {
      const { view, whole } = this.chart;
      const isInside = view.from >= this.loaded.from && view.to <= this.loaded.to;
      const span = view.to - view.from;
      const isMuchNarrower = span < 0.5 * (this.loaded.to - this.loaded.from);
      if (!isInside || (!this.loaded.isComplete && isMuchNarrower)) {
        const wider = {
          from: Math.max(whole.from, view.from - span / 4),
          to: Math.min(whole.to, view.to + span / 4),
        };
        this.#load(isInside ? wider : span > 0.5 * (whole.to - whole.from) ? whole : wider);
      }
      this.#fillTable();
    }, 300);
  }

  #tick() {
    const { from, to } = this.chart.whole;
    // After midnight, today's view moves on to the new day.
    if (this.isToday && to <= Date.now()) return this.#showDay(new Date());
    this.next.disabled = to > Date.now();
    const isNow = from <= Date.now() && Date.now() < to + 60_000;
    if (this.#isStale && isNow) return this.#load(this.loaded);
    const hasOpenEvents = this.lanes.some((lane) =>
      lane.events.some((event) => event.end === null),
    );
    if (hasOpenEvents && isNow) this.#draw();
    return undefined;
  }

  #fillTable() {
    if (!this.table.open) return;
    const { from, to } = this.chart.view;
    const visible = this.lanes
      .flatMap(({ camera, events }) => events.map((event) => ({ ...timed(event), camera })))
      .filter((event) => event.to >= from && event.from <= to)
      .sort((a, b) => a.from - b.from);
    const rows = visible.slice(0, MAX_TABLE_ROWS).map((event) => {
      const open = () => openTab("Events", `event=${event.id}`);
      const cells = [
        node("button", { type: "button", class: "aw-link", click: open }, localTime(event.start)),
        event.camera,
        labelOf(event),
        durationOf(event),
        percent(event.peak),
      ];
      return node("tr", {}, ...cells.map((cell) => node("td", {}, cell)));
    });
    if (visible.length > MAX_TABLE_ROWS) {
      const more = (visible.length - MAX_TABLE_ROWS).toLocaleString();
      const text = `and ${more} more; zoom in to see them`;
      rows.push(node("tr", {}, node("td", { colspan: 5, class: "aw-subdued" }, text)));
    }
    this.rows.replaceChildren(...rows);
  }
}

const timed = (event) => ({
  ...event,
  from: Date.parse(event.start),
  to: event.end === null ? Math.max(Date.now(), Date.parse(event.start)) : Date.parse(event.end),
});

const iso = (time) => new Date(time).toISOString();

/** "2026-05-01" -> the start of that day in local time. */
function asDate(text) {
  const [year, month, day] = text.split("-").map(Number);
  return new Date(year, month - 1, day);
}

customElements.define("aw-timeline", Timeline);
