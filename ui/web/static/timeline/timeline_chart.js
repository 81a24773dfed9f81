// The chart: a lane for each camera, bars for events, an axis in local time.
import { node } from "../api.js";
import { gestures } from "./timeline_gestures.js";
import { barsOf, rowsOf, ticksOf, within, zoomed } from "./timeline_layout.js";
import { barName, tipOf } from "./timeline_text.js";

const ROW_HEIGHT = 26, // pixels
  MIN_LABEL_WIDTH = 34,
  MIN_COUNT_WIDTH = 22;
const minuteFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const secondFormat = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export class Chart {
  /** `onOpen` is called with a clicked event, `onViewChange` after zooming or panning. */
  constructor(legend, { onOpen, onViewChange }) {
    Object.assign(this, { legend, onOpen, onViewChange });
    this.lanes = []; // {camera, rows}
    this.drawn = new Map(); // nodes by lane and bar: they are reused, so that clicks hit them
    this.whole = this.view = { from: 0, to: 1 };
    this.current = ""; // id of the event that receives the focus on Tab
    this.axis = node("div", { class: "aw-axis", "aria-hidden": "true" });
    this.tip = node("div", {
      class: "aw-tip",
      role: "tooltip",
      id: "aw-timeline-tip",
      hidden: true,
    });
    this.body = node("div", { class: "aw-lanes" });
    this.node = node(
      "div",
      {
        class: "aw-chart",
        role: "group",
        tabindex: 0,
        "aria-label":
          "Chart of events. Plus and minus zoom, arrow keys pan, Enter moves to the events.",
        keydown: (event) => this.#key(event),
      },
      this.axis,
      this.body,
      this.tip,
    );
    gestures(this.node, {
      pan: (pixels) => this.#pan(-pixels / this.width),
      zoom: (factor, x) => this.zoom(factor, this.view.from + (x / this.width) * this.#span),
    });
    for (const on of ["pointerover", "focusin"])
      this.node.addEventListener(on, (event) => this.#showTip(event.target));
    for (const off of ["pointerleave", "focusout"])
      this.node.addEventListener(off, () => (this.tip.hidden = true));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  get width() {
    return this.body.clientWidth || 1;
  }

  get #span() {
    return this.view.to - this.view.from;
  }

  /** Lanes are {camera, events}, with `from` and `to` of each event in milliseconds. */
  show(lanes) {
    this.lanes = lanes.map(({ camera, events }) => ({ camera, rows: rowsOf(events) }));
    this.draw();
  }

  /** Show a part of `whole`; returns whether the view changed. */
  setView(view) {
    const before = this.view;
    this.view = within(view, this.whole);
    this.draw();
    this.onViewChange();
    return before.from !== this.view.from || before.to !== this.view.to;
  }

  zoom(factor, time = (this.view.from + this.view.to) / 2) {
    return this.setView(zoomed(this.view, factor, time));
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (this.node.checkVisibility()) this.#draw();
    });
  }

  #pan(ratio) {
    const by = ratio * this.#span;
    this.setView({ from: this.view.from + by, to: this.view.to + by });
  }

  #draw() {
    const focused = document.activeElement?.closest(".aw-bar") && this.current;
    this.#drawAxis();
    const before = this.drawn;
    this.drawn = new Map();
    const lanes = this.lanes.map((lane) => this.#lane(lane, before));
    if (
      lanes.length !== this.body.children.length ||
      lanes.some((lane) => lane.parentNode !== this.body)
    ) {
      this.body.replaceChildren(...lanes);
    }
    for (const [key, old] of before) if (!this.drawn.has(key)) old.remove();
    const bars = this.#bars();
    const current =
      bars.find((bar) => bar.events.some((event) => event.id === this.current)) ?? bars[0];
    if (current) current.tabIndex = 0;
    if (focused && document.activeElement !== current)
      (current ?? this.node).focus({ preventScroll: true });
    if (!this.body.querySelector(".aw-bar:is(:hover, :focus)")) this.tip.hidden = true;
  }

  #drawAxis() {
    const isFine = this.#span < 40 * 60_000;
    const { step, ticks } = ticksOf(this.view, this.width, isFine ? 100 : 80);
    const format = step < 60_000 ? secondFormat : minuteFormat;
    this.axis.replaceChildren(
      ...ticks.map(({ time, x }) => {
        const label = node("span", {}, format.format(time));
        const tick = node("div", { class: "aw-tick" }, x < this.width - 60 ? label : null);
        tick.style.left = `${x}px`;
        return tick;
      }),
    );
  }

  #lane({ camera, rows }, before) {
    const lane = this.#reuse(before, camera, () =>
      node(
        "div",
        { class: "aw-lane", role: "group", "aria-label": camera },
        node("div", { class: "aw-lane-name" }, camera),
        node("div", { class: "aw-bars" }),
      ),
    );
    const area = lane.lastElementChild;
    area.style.height = `${Math.max(1, rows.length) * ROW_HEIGHT}px`;
    rows.forEach((row, index) => {
      for (const bar of barsOf(row, this.view, this.width)) {
        const button = this.#reuse(before, `${camera} ${index} ${bar.events[0].id}`, () =>
          this.#button(camera),
        );
        this.#style(button, bar, index);
        if (button.parentNode !== area) area.append(button);
      }
    });
    return lane;
  }

  #reuse(before, key, make) {
    const element = before.get(key) ?? make();
    this.drawn.set(key, element);
    return element;
  }

  #button(camera) {
    const button = node("button", {
      type: "button",
      "aria-describedby": this.tip.id,
      click: () => this.#open(button.events),
      focus: () => (this.current = button.events[0].id),
    });
    button.camera = camera;
    return button;
  }

  #style(button, { x, width, events }, row) {
    const [first] = events;
    const labels = new Set(events.map((event) => event.label));
    const isOne = events.length === 1;
    const only = this.legend.only;
    const text = isOne ? first.label : String(events.length);
    button.events = events;
    button.tabIndex = -1;
    button.textContent = width >= (isOne ? MIN_LABEL_WIDTH : MIN_COUNT_WIDTH) ? text : "";
    button.setAttribute("aria-label", barName(button.camera, events));
    button.className = "aw-bar";
    button.classList.toggle("aw-block", !isOne);
    button.classList.toggle("aw-rejected", isOne && first.verdict === "rejected");
    button.classList.toggle("aw-dim", Boolean(only) && !labels.has(only));
    Object.assign(button.style, {
      left: `${x}px`,
      width: `${width}px`,
      top: `${row * ROW_HEIGHT}px`,
    });
    button.style.setProperty("--aw-label-color", this.legend.colorOf(first.label));
    button.style.background = labels.size > 1 ? this.legend.gradientOf(events) : "";
  }

  #open(events) {
    this.current = events[0].id;
    if (events.length === 1) {
      this.onOpen(events[0]);
      return;
    }
    const from = events[0].from;
    const to = Math.max(...events.map((event) => event.to));
    const margin = 0.1 * (to - from) + 1000;
    const isDrawn = this.frame === undefined;
    // At maximum zoom a block can't be split: open its first event.
    if (!this.setView({ from: from - margin, to: to + margin }) && isDrawn) this.onOpen(events[0]);
  }

  #bars() {
    return [...this.body.querySelectorAll(".aw-bar")];
  }

  #showTip(target) {
    const bar = target.closest?.(".aw-bar");
    this.tip.hidden = !bar;
    if (!bar) return;
    this.tip.replaceChildren(...tipOf(bar.camera, bar.events));
    const chartBox = this.node.getBoundingClientRect(),
      barBox = bar.getBoundingClientRect();
    const left = Math.min(barBox.left - chartBox.left, chartBox.width - this.tip.offsetWidth - 4);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${barBox.bottom - chartBox.top + 6}px`;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const bar = event.target.closest(".aw-bar");
    const center = bar ? bar.events[0].from : undefined;
    const action = {
      "+": () => this.zoom(0.5, center),
      "=": () => this.zoom(0.5, center),
      "-": () => this.zoom(2, center),
      0: () => this.setView(this.whole),
      ...(bar ? this.#barKeys(bar) : this.#chartKeys()),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  #chartKeys() {
    const enter = () => this.body.querySelector('.aw-bar[tabindex="0"]')?.focus();
    return {
      ArrowLeft: () => this.#pan(-0.2),
      ArrowRight: () => this.#pan(0.2),
      ArrowDown: enter,
      Enter: enter,
    };
  }

  #barKeys(bar) {
    const lanes = [...this.body.children];
    const lane = bar.closest(".aw-lane");
    const inOrder = (one) =>
      [...one.querySelectorAll(".aw-bar")].sort((a, b) => a.offsetLeft - b.offsetLeft);
    const bars = inOrder(lane);
    const neighbor = (by) => bars[bars.indexOf(bar) + by]?.focus();
    const inLane = (by) => {
      for (let index = lanes.indexOf(lane) + by; lanes[index]; index += by) {
        const distance = (one) => Math.abs(one.offsetLeft - bar.offsetLeft);
        const [nearest] = inOrder(lanes[index]).sort((a, b) => distance(a) - distance(b));
        if (nearest) return nearest.focus();
      }
      return undefined;
    };
    return {
      ArrowLeft: () => neighbor(-1),
      ArrowRight: () => neighbor(1),
      ArrowUp: () => inLane(-1),
      ArrowDown: () => inLane(1),
      Home: () => bars[0].focus(),
      End: () => bars.at(-1).focus(),
      Escape: () => this.node.focus(),
    };
  }
}
