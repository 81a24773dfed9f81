// <aw-live>: all cameras in a grid, one of them large when it is chosen, and what can be done with
// them: pause, snapshot, full screen, and how old is what one sees.
import { button, get, node, ownStyle, saveAs, whileSeen } from "../api.js";
import { CameraView } from "./live_camera.js";
import { drawOver, isCurrent } from "./live_drawing.js";
import { Latency } from "./live_latency.js";

const LOOK_EVERY_MS = 3000; // for cameras that came or went
const SAY_EVERY_MS = 2000; // to those who listen
const NUMBERS_EVERY_MS = 1000;

class Live extends HTMLElement {
  connectedCallback() {
    ownStyle(this);
    this.views = new Map();
    this.chosen = null;
    this.pausedAt = null;
    this.build();
    this.keys = (event) => this.escape(event);
    document.addEventListener("keydown", this.keys);
    whileSeen(this, LOOK_EVERY_MS, () => this.look())();
    this.timers = [
      setInterval(() => this.say(), SAY_EVERY_MS),
      setInterval(() => this.tellLatency(), NUMBERS_EVERY_MS),
    ];
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.keys);
    this.timers.forEach(clearInterval);
    for (const view of this.views.values()) view.close();
  }

  build() {
    this.back = button("All cameras", () => this.choose(null));
    this.pauseButton = button("Pause", () => this.pause());
    this.pauseButton.setAttribute("aria-pressed", "false");
    this.withLabels = node("input", { type: "checkbox", checked: true });
    this.alone = node(
      "div",
      { class: "aw-row aw-alone", hidden: true },
      button("Snapshot", () => this.snapshot()),
      node("label", { class: "aw-check" }, this.withLabels, "with labels"),
      document.fullscreenEnabled ? button("Full screen", () => this.fullScreen()) : null,
    );
    this.problem = node("p", { class: "aw-problem", role: "alert" });
    this.grid = node("div", { class: "aw-grid" });
    this.latency = new Latency();
    this.latency.root.hidden = true;
    this.latency.root.addEventListener("toggle", () => this.tellLatency());
    this.spoken = node("div", { class: "aw-hidden", role: "status", "aria-live": "polite" });
    const bar = node("div", { class: "aw-row aw-tools" }, this.back, this.pauseButton, this.alone);
    this.replaceChildren(bar, this.problem, this.grid, this.latency.root, this.spoken);
  }

  /** Show the cameras that there are now. */
  async look() {
    let names;
    try {
      names = (await get("api/cameras")).map((camera) => camera.name);
      this.problem.textContent = names.length ? "" : "No camera is watched at the moment.";
    } catch (error) {
      if (!this.views.size) this.problem.textContent = `${error.message}; trying again`;
      return;
    }
    for (const [name, view] of this.views) if (!names.includes(name)) this.remove(name, view);
    for (const name of names) if (!this.views.has(name)) this.add(name);
    const placed = [...this.grid.children].map((child) => child.dataset.name);
    if (placed.join("/") !== names.join("/"))
      this.grid.append(...names.map((name) => this.views.get(name).root));
    this.grid.dataset.many = String(names.length > 1);
    if (names.length === 1) this.choose(names[0]);
    else this.arrange();
  }

  add(name) {
    const pause = () => pauseBetween(this.views.size);
    const view = new CameraView(name, { enlarge: () => this.choose(name), pause });
    view.root.dataset.name = name;
    this.views.set(name, view);
    if (this.pausedAt) view.pause(this.pausedAt);
    this.grid.append(view.root);
  }

  remove(name, view) {
    view.close();
    this.views.delete(name);
    if (this.chosen === name) this.chosen = null;
  }

  choose(name) {
    if (name === this.chosen) return this.arrange();
    const before = this.chosen;
    this.chosen = name;
    this.arrange();
    if (name && this.views.size > 1) this.back.focus();
    else if (before) this.views.get(before)?.button.focus();
  }

  arrange() {
    for (const [name, view] of this.views) {
      view.root.hidden = this.chosen !== null && this.chosen !== name;
      if (view.large !== (this.chosen === name)) view.setLarge(this.chosen === name);
    }
    this.grid.classList.toggle("aw-one", this.chosen !== null);
    this.back.hidden = this.chosen === null || this.views.size < 2;
    this.alone.hidden = this.latency.root.hidden = this.chosen === null;
    this.tellLatency();
  }

  escape(event) {
    const elsewhere = document.fullscreenElement || !this.checkVisibility() || this.views.size < 2;
    if (event.key === "Escape" && this.chosen && !elsewhere) this.choose(null);
  }

  pause() {
    this.pausedAt = this.pausedAt ? null : new Date().toISOString();
    this.pauseButton.textContent = this.pausedAt ? "Go on" : "Pause";
    this.pauseButton.setAttribute("aria-pressed", String(Boolean(this.pausedAt)));
    for (const view of this.views.values()) view.pause(this.pausedAt);
  }

  fullScreen() {
    this.views.get(this.chosen)?.stage.requestFullscreen();
  }

  snapshot() {
    const view = this.views.get(this.chosen);
    if (!view?.hasPicture) return;
    const { width, height } = view.canvas;
    const copy = node("canvas", { width, height });
    const context = copy.getContext("2d");
    context.drawImage(view.canvas, 0, 0);
    if (this.withLabels.checked)
      drawOver(context, width, height, view.state, Math.max(12, width / 48));
    const at = new Date(view.state.at - (view.state.picture_ms ?? 0));
    copy.toBlob((blob) => saveAs(blob, `${view.name} ${fileTime(at)}.jpg`), "image/jpeg", 0.92);
  }

  tellLatency() {
    const view = this.views.get(this.chosen);
    this.latency.tell(view?.state, view?.drawMs);
  }

  /** For those who listen: the large camera's best label and what goes on, when it changes. */
  say() {
    const view = this.views.get(this.chosen);
    if (!view?.state || view.pausedAt || document.hidden || !this.checkVisibility()) return;
    const text = spoken(view);
    if (text !== this.spoken.textContent) this.spoken.textContent = text;
  }
}

function spoken({ name, state, lostAt }) {
  if (lostAt) return `${name}: no connection to Actionwatch`;
  if (!isCurrent(state)) return `${name}: ${state.waiting || state.state}`;
  const called = (zone, label) => (zone ? `${zone}: ${label}` : label);
  const best = state.zones.length ? state.labels : state.labels.slice(0, 1);
  const events = state.events.map(({ zone, label }) => `event ${called(zone, label)}`);
  return [name, ...best.map(([zone, label]) => called(zone, label)), ...events].join(", ");
}

/** Between two small pictures in ms, so that a page with many cameras stays quick. */
const pauseBetween = (cameras) => (cameras <= 2 ? 0 : cameras <= 6 ? 80 : 160);

/** 2026-11-21 14-05-12, by the viewer's clock; file names bear no colons. */
function fileTime(date) {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace("T", " ").replaceAll(":", "-");
}

customElements.define("aw-live", Live);
