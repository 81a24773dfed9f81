// <aw-timeline>: the events of a day, by camera, as a chart that leads to each of them.
import { button, get, node, openTab, ownStyle, percent, when, whileSeen } from "../api.js";
import { labelOf, lasted } from "../events/events_text.js";
import { listen } from "../events/events_live.js";
import { Chart } from "./timeline_chart.js";
import { Legend } from "./timeline_legend.js";

const mostInTable = 200;
const dayName = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

class Timeline extends HTMLElement {
  #isStale = false; // something happened since it was loaded
  #loads = 0;

  connectedCallback() {
    ownStyle(this);
    this.lanes = [];
    this.loaded = { from: 0, to: 0, isAll: true };
    this.legend = new Legend(() => this.#draw());
    this.chart = new Chart(this.legend, {
      open: (event) => openTab("Events", `event=${event.id}`),
      moved: () => this.#moved(),
    });
    this.#lay();
    this.stop = listen(
      this,
      () => (this.#isStale = true),
      () => (this.#isStale = true),
    );
    whileSeen(this, 2000, () => this.#tick());
    this.#go(new Date(), { fit: true });
  }

  disconnectedCallback() {
    this.stop();
    clearTimeout(this.later);
  }

  #lay() {
    this.day = node("input", {
      type: "date",
      change: () => this.#go(asDate(this.day.value), { fit: true }),
    });
    this.next = button("▶", () => this.#step(1), { "aria-label": "Next day" });
    const { chart } = this;
    const bar = node(
      "div",
      { class: "aw-row aw-timeline-bar" },
      button("◀", () => this.#step(-1), { "aria-label": "Previous day" }),
      node("label", { class: "aw-field" }, "Day", this.day),
      this.next,
      button("Today", () => this.#go(new Date(), { fit: true })),
      node("span", { class: "aw-space" }),
      button("−", () => chart.zoom(2), { "aria-label": "Zoom out" }),
      button("+", () => chart.zoom(0.5), { "aria-label": "Zoom in" }),
      button("Whole day", () => chart.see(chart.whole)),
    );
    this.said = node("p", { class: "aw-quiet", role: "status" });
    this.problem = node("p", { class: "aw-problem", role: "alert" });
    this.rows = node("tbody");
    const heads = ["Time", "Camera", "Label", "Lasted", "Peak"].map((name) =>
      node("th", { scope: "col" }, name),
    );
    this.table = node(
      "details",
      { class: "aw-timeline-table", toggle: () => this.#fillTable() },
      node("summary", {}, "The same as a table"),
      node(
        "div",
        { class: "aw-scroll", tabindex: 0, role: "region", "aria-label": "Events of this time" },
        node(
          "table",
          { class: "aw-table" },
          node("thead", {}, node("tr", {}, ...heads)),
          this.rows,
        ),
      ),
    );
    this.replaceChildren(bar, this.said, this.problem, chart.node, this.legend.node, this.table);
  }

  #step(days) {
    const day = asDate(this.day.value);
    this.#go(new Date(day.getFullYear(), day.getMonth(), day.getDate() + days), { fit: true });
  }

  #go(day, { fit }) {
    if (Number.isNaN(day.getTime())) return;
    const [year, month, date] = [day.getFullYear(), day.getMonth(), day.getDate()];
    const whole = { from: +new Date(year, month, date), to: +new Date(year, month, date + 1) };
    this.day.value = [String(year).padStart(4, "0"), month + 1, date]
      .map((one) => String(one).padStart(2, "0"))
      .join("-");
    this.isToday = whole.from <= Date.now() && Date.now() < whole.to;
    this.next.disabled = whole.to > Date.now();
    this.chart.whole = this.chart.view = whole;
    this.#load(whole, { fit });
  }

  async #load(span, { fit = false } = {}) {
    const load = ++this.#loads;
    this.#isStale = false;
    const query = new URLSearchParams({ since: iso(span.from), until: iso(span.to) });
    try {
      const { lanes, more } = await get(`api/timeline?${query}`);
      if (load !== this.#loads) return;
      this.problem.textContent = "";
      const { whole } = this.chart;
      const isDay = span.from === whole.from && span.to === whole.to;
      this.loaded = { ...span, isAll: Object.keys(more).length === 0, isDay };
      this.lanes = lanes;
      this.left = Object.values(more).reduce((sum, one) => sum + one, 0);
      if (fit) this.#fit();
      this.#draw();
    } catch (error) {
      if (load === this.#loads)
        this.problem.textContent = `No events can be shown: ${error.message}`;
    }
  }

  /** Look at what there is, if that is only in a part of the day. */
  #fit() {
    const { whole } = this.chart;
    const events = this.lanes.flatMap((lane) => lane.events);
    if (!events.length) return;
    const from = Math.max(whole.from, Math.min(...events.map((event) => Date.parse(event.start))));
    const to = Math.max(...events.map((event) => timed(event).to));
    const about = Math.max(60_000, 0.05 * (to - from));
    if (to - from + 2 * about < (whole.to - whole.from) / 4)
      this.chart.see({ from: from - about, to: to + about });
  }

  #draw() {
    const lanes = this.lanes.map(({ camera, events }) => ({ camera, events: events.map(timed) }));
    this.legend.show(new Set(lanes.flatMap((lane) => lane.events.map((event) => event.label))));
    this.chart.show(lanes);
    this.#say();
    this.#fillTable();
  }

  #say() {
    const count = this.lanes.reduce((sum, lane) => sum + lane.events.length, 0) + this.left;
    const events = count === 1 ? "1 event" : `${count.toLocaleString()} events`;
    const when = this.loaded.isDay ? dayName.format(this.chart.whole.from) : "in what you look at";
    const left = this.left
      ? `; the oldest ${this.left.toLocaleString()} are not drawn, zoom in to see them`
      : "";
    const text = `${count ? events : "No events"}: ${when}${left}`;
    if (this.said.textContent !== text) this.said.textContent = text;
  }

  #moved() {
    clearTimeout(this.later);
    this.later = setTimeout(() => {
      const { view, whole } = this.chart;
      const isInside = view.from >= this.loaded.from && view.to <= this.loaded.to;
      const span = view.to - view.from;
      const isMuchLess = span < 0.5 * (this.loaded.to - this.loaded.from);
      if (!isInside || (!this.loaded.isAll && isMuchLess)) {
        const wide = {
          from: Math.max(whole.from, view.from - span / 4),
          to: Math.min(whole.to, view.to + span / 4),
        };
        this.#load(isInside ? wide : span > 0.5 * (whole.to - whole.from) ? whole : wide);
      }
      this.#fillTable();
    }, 300);
  }

  #tick() {
    const { from, to } = this.chart.whole;
    // After midnight: who looked at today goes on looking at today.
    if (this.isToday && to <= Date.now()) return this.#go(new Date(), { fit: true });
    this.next.disabled = to > Date.now();
    const isNow = from <= Date.now() && Date.now() < to + 60_000;
    if (this.#isStale && isNow) return this.#load(this.loaded.to ? this.loaded : this.chart.whole);
    const goesOn = this.lanes.some((lane) => lane.events.some((event) => event.end === null));
    if (goesOn && isNow) this.#draw();
    return undefined;
  }

  #fillTable() {
    if (!this.table.open) return;
    const { from, to } = this.chart.view;
    const seen = this.lanes
      .flatMap(({ camera, events }) => events.map((event) => ({ ...timed(event), camera })))
      .filter((event) => event.to >= from && event.from <= to)
      .sort((one, other) => one.from - other.from);
    const rows = seen.slice(0, mostInTable).map((event) => {
      const open = () => openTab("Events", `event=${event.id}`);
      const cells = [
        node("button", { type: "button", class: "aw-link", click: open }, when(event.start)),
        event.camera,
        labelOf(event),
        lasted(event),
        percent(event.peak),
      ];
      return node("tr", {}, ...cells.map((cell) => node("td", {}, cell)));
    });
    if (seen.length > mostInTable) {
      const text = `and ${(seen.length - mostInTable).toLocaleString()} more; zoom in to see them`;
      rows.push(node("tr", {}, node("td", { colspan: 5, class: "aw-quiet" }, text)));
    }
    this.rows.replaceChildren(...rows);
  }
}

const timed = (event) => ({
  ...event,
  from: Date.parse(event.start),
  to: event.end === null ? Math.max(Date.now(), Date.parse(event.start)) : Date.parse(event.end),
});

const iso = (moment) => new Date(moment).toISOString();

/** "2026-05-01" -> the beginning of that day where the viewer is. */
function asDate(text) {
  const [year, month, day] = text.split("-").map(Number);
  return new Date(year, month - 1, day);
}

customElements.define("aw-timeline", Timeline);
