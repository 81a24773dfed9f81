// The chart: a lane for each camera, bars for events, an axis in the viewer's time.
import { node } from "../api.js";
import { gestures } from "./timeline_gestures.js";
import { barsOf, rowsOf, ticksOf, within, zoomed } from "./timeline_layout.js";
import { barName, tipOf } from "./timeline_text.js";

const rowHeight = 26,
  labelFrom = 34,
  countFrom = 22; // pixels
const hours = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

export class Chart {
  /** `open` is called with an event that was chosen, `moved` when another part is seen. */
  constructor(legend, { open, moved }) {
    Object.assign(this, { legend, open, moved });
    this.lanes = []; // {camera, rows}
    this.drawn = new Map(); // by lane and by bar: what is drawn stays, so that it can be clicked
    this.whole = this.view = { from: 0, to: 1 };
    this.current = ""; // id of the event to which Tab leads
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
          "Chart of events. Plus and minus zoom, arrow keys move, Enter goes to the events.",
        keydown: (event) => this.#key(event),
      },
      this.axis,
      this.body,
      this.tip,
    );
    gestures(this.node, {
      move: (pixels) => this.#pan(-pixels / this.width),
      zoom: (factor, x) => this.zoom(factor, this.view.from + (x / this.width) * this.#span),
    });
    for (const on of ["pointerover", "focusin"])
      this.node.addEventListener(on, (event) => this.#point(event.target));
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

  see(view) {
    const before = this.view;
    this.view = within(view, this.whole);
    this.draw();
    this.moved();
    return before.from !== this.view.from || before.to !== this.view.to;
  }

  zoom(factor, moment = (this.view.from + this.view.to) / 2) {
    return this.see(zoomed(this.view, factor, moment));
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (this.node.checkVisibility()) this.#draw();
    });
  }

  #pan(share) {
    const by = share * this.#span;
    this.see({ from: this.view.from + by, to: this.view.to + by });
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
    const kept =
      bars.find((bar) => bar.events.some((event) => event.id === this.current)) ?? bars[0];
    if (kept) kept.tabIndex = 0;
    if (focused && document.activeElement !== kept)
      (kept ?? this.node).focus({ preventScroll: true });
    if (!this.body.querySelector(".aw-bar:is(:hover, :focus)")) this.tip.hidden = true;
  }

  #drawAxis() {
    const isFine = this.#span < 40 * 60_000;
    const { step, ticks } = ticksOf(this.view, this.width, isFine ? 100 : 80);
    const words = step < 60_000 ? seconds : hours;
    this.axis.replaceChildren(
      ...ticks.map(({ moment, x }) => {
        const label = node("span", {}, words.format(moment));
        const tick = node("div", { class: "aw-tick" }, x < this.width - 60 ? label : null);
        tick.style.left = `${x}px`;
        return tick;
      }),
    );
  }

  #lane({ camera, rows }, before) {
    const lane = this.#kept(before, camera, () =>
      node(
        "div",
        { class: "aw-lane", role: "group", "aria-label": camera },
        node("div", { class: "aw-lane-name" }, camera),
        node("div", { class: "aw-bars" }),
      ),
    );
    const area = lane.lastElementChild;
    area.style.height = `${Math.max(1, rows.length) * rowHeight}px`;
    rows.forEach((row, index) => {
      for (const bar of barsOf(row, this.view, this.width)) {
        const button = this.#kept(before, `${camera} ${index} ${bar.events[0].id}`, () =>
          this.#button(camera),
        );
        this.#dress(button, bar, index);
        if (button.parentNode !== area) area.append(button);
      }
    });
    return lane;
  }

  #kept(before, key, make) {
    const one = before.get(key) ?? make();
    this.drawn.set(key, one);
    return one;
  }

  #button(camera) {
    const button = node("button", {
      type: "button",
      "aria-describedby": this.tip.id,
      click: () => this.#choose(button.events),
      focus: () => (this.current = button.events[0].id),
    });
    button.camera = camera;
    return button;
  }

  #dress(button, { x, width, events }, row) {
    const [first] = events;
    const labels = new Set(events.map((event) => event.label));
    const isOne = events.length === 1;
    const only = this.legend.only;
    const text = isOne ? first.label : String(events.length);
    button.events = events;
    button.tabIndex = -1;
    button.textContent = width >= (isOne ? labelFrom : countFrom) ? text : "";
    button.setAttribute("aria-label", barName(button.camera, events));
    button.className = "aw-bar";
    button.classList.toggle("aw-many", !isOne);
    button.classList.toggle("aw-no", isOne && first.verdict === "rejected");
    button.classList.toggle("aw-dim", Boolean(only) && !labels.has(only));
    Object.assign(button.style, {
      left: `${x}px`,
      width: `${width}px`,
      top: `${row * rowHeight}px`,
    });
    button.style.setProperty("--colour", this.legend.colourOf(first.label));
    button.style.background = labels.size > 1 ? this.legend.sharesOf(events) : "";
  }

  #choose(events) {
    this.current = events[0].id;
    if (events.length === 1) {
      this.open(events[0]);
      return;
    }
    const from = events[0].from;
    const to = Math.max(...events.map((event) => event.to));
    const about = 0.1 * (to - from) + 1000;
    const isDrawn = this.frame === undefined;
    // Where they are one block still, though all is seen as near as can be, the first will do.
    if (!this.see({ from: from - about, to: to + about }) && isDrawn) this.open(events[0]);
  }

  #bars() {
    return [...this.body.querySelectorAll(".aw-bar")];
  }

  #point(target) {
    const bar = target.closest?.(".aw-bar");
    this.tip.hidden = !bar;
    if (!bar) return;
    this.tip.replaceChildren(...tipOf(bar.camera, bar.events));
    const here = this.node.getBoundingClientRect(),
      there = bar.getBoundingClientRect();
    const left = Math.min(there.left - here.left, here.width - this.tip.offsetWidth - 4);
    this.tip.style.left = `${Math.max(0, left)}px`;
    this.tip.style.top = `${there.bottom - here.top + 6}px`;
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const bar = event.target.closest(".aw-bar");
    const middle = bar ? bar.events[0].from : undefined;
    const does = {
      "+": () => this.zoom(0.5, middle),
      "=": () => this.zoom(0.5, middle),
      "-": () => this.zoom(2, middle),
      0: () => this.see(this.whole),
      ...(bar ? this.#keysOfBar(bar) : this.#keysOfChart()),
    }[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  }

  #keysOfChart() {
    const enter = () => this.body.querySelector('.aw-bar[tabindex="0"]')?.focus();
    return {
      ArrowLeft: () => this.#pan(-0.2),
      ArrowRight: () => this.#pan(0.2),
      ArrowDown: enter,
      Enter: enter,
    };
  }

  #keysOfBar(bar) {
    const lanes = [...this.body.children];
    const lane = bar.closest(".aw-lane");
    const inOrder = (one) =>
      [...one.querySelectorAll(".aw-bar")].sort((a, b) => a.offsetLeft - b.offsetLeft);
    const mine = inOrder(lane);
    const beside = (by) => mine[mine.indexOf(bar) + by]?.focus();
    const inLane = (by) => {
      for (let at = lanes.indexOf(lane) + by; lanes[at]; at += by) {
        const near = (one) => Math.abs(one.offsetLeft - bar.offsetLeft);
        const [nearest] = inOrder(lanes[at]).sort((a, b) => near(a) - near(b));
        if (nearest) return nearest.focus();
      }
      return undefined;
    };
    return {
      ArrowLeft: () => beside(-1),
      ArrowRight: () => beside(1),
      ArrowUp: () => inLane(-1),
      ArrowDown: () => inLane(1),
      Home: () => mine[0].focus(),
      End: () => mine.at(-1).focus(),
      Escape: () => this.node.focus(),
    };
  }
}
