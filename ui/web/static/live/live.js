// <aw-live>: all cameras in a grid or one enlarged camera, with pause, snapshot, full screen and
// latency.
import { button, get, node, ownStyle, saveAs, pollWhileVisible } from "../api.js";
import { CameraView } from "./live_camera.js";
import { drawAnnotations, isCurrent } from "./live_drawing.js";
import { Latency } from "./live_latency.js";

const CAMERAS_INTERVAL_MS = 3000; // for added or removed cameras
const ANNOUNCE_INTERVAL_MS = 2000; // to screen readers
const LATENCY_INTERVAL_MS = 1000;

class Live extends HTMLElement {
  connectedCallback() {
    ownStyle(this);
    this.views = new Map();
    this.enlarged = null;
    this.pausedAt = null;
    this.build();
    this.onKeydown = (event) => this.escape(event);
    document.addEventListener("keydown", this.onKeydown);
    pollWhileVisible(this, CAMERAS_INTERVAL_MS, () => this.updateCameras())();
    this.timers = [
      setInterval(() => this.announce(), ANNOUNCE_INTERVAL_MS),
      setInterval(() => this.updateLatency(), LATENCY_INTERVAL_MS),
    ];
  }

  disconnectedCallback() {
    document.removeEventListener("keydown", this.onKeydown);
    this.timers.forEach(clearInterval);
    for (const view of this.views.values()) view.close();
  }

  build() {
    this.back = button("All cameras", () => this.enlarge(null));
    this.pauseButton = button("Pause", () => this.pause());
    this.pauseButton.setAttribute("aria-pressed", "false");
    this.withLabels = node("input", { type: "checkbox", checked: true });
    this.cameraTools = node(
      "div",
      { class: "aw-row aw-camera-tools", hidden: true },
      button("Snapshot", () => this.snapshot()),
      node("label", { class: "aw-check" }, this.withLabels, "with labels"),
      document.fullscreenEnabled ? button("Full screen", () => this.fullScreen()) : null,
    );
    this.error = node("p", { class: "aw-error", role: "alert" });
    this.grid = node("div", { class: "aw-grid" });
    this.latency = new Latency();
    this.latency.root.hidden = true;
    this.latency.root.addEventListener("toggle", () => this.updateLatency());
    this.announcement = node("div", { class: "aw-hidden", role: "status", "aria-live": "polite" });
    const bar = node(
      "div",
      { class: "aw-row aw-tools" },
      this.back,
      this.pauseButton,
      this.cameraTools,
    );
    this.replaceChildren(bar, this.error, this.grid, this.latency.root, this.announcement);
  }

  /** Show the current cameras. */
  async updateCameras() {
    let names;
    try {
      names = (await get("api/cameras")).map((camera) => camera.name);
      this.error.textContent = names.length ? "" : "No cameras are configured.";
    } catch (error) {
      if (!this.views.size) this.error.textContent = `${error.message}; retrying`;
      return;
    }
    for (const [name, view] of this.views) if (!names.includes(name)) this.remove(name, view);
    for (const name of names) if (!this.views.has(name)) this.add(name);
    const shown = [...this.grid.children].map((child) => child.dataset.name);
    if (shown.join("/") !== names.join("/"))
      this.grid.append(...names.map((name) => this.views.get(name).root));
    this.grid.dataset.many = String(names.length > 1);
    if (names.length === 1) this.enlarge(names[0]);
    else this.layOut();
  }

  add(name) {
    const minInterval = () => smallInterval(this.views.size);
    const view = new CameraView(name, { enlarge: () => this.enlarge(name), minInterval });
    view.root.dataset.name = name;
    this.views.set(name, view);
    if (this.pausedAt) view.pause(this.pausedAt);
    this.grid.append(view.root);
  }

  remove(name, view) {
    view.close();
    this.views.delete(name);
    if (this.enlarged === name) this.enlarged = null;
  }

  /** Enlarge a camera; null shows all of them. */
  enlarge(name) {
    if (name === this.enlarged) return this.layOut();
    const before = this.enlarged;
    this.enlarged = name;
    this.layOut();
    if (name && this.views.size > 1) this.back.focus();
    else if (before) this.views.get(before)?.button.focus();
  }

  layOut() {
    for (const [name, view] of this.views) {
      view.root.hidden = this.enlarged !== null && this.enlarged !== name;
      if (view.large !== (this.enlarged === name)) view.setLarge(this.enlarged === name);
    }
    this.grid.classList.toggle("aw-single", this.enlarged !== null);
    this.back.hidden = this.enlarged === null || this.views.size < 2;
    this.cameraTools.hidden = this.latency.root.hidden = this.enlarged === null;
    this.updateLatency();
  }

  escape(event) {
    const ignored = document.fullscreenElement || !this.checkVisibility() || this.views.size < 2;
    if (event.key === "Escape" && this.enlarged && !ignored) this.enlarge(null);
  }

  pause() {
    this.pausedAt = this.pausedAt ? null : new Date().toISOString();
    this.pauseButton.textContent = this.pausedAt ? "Resume" : "Pause";
    this.pauseButton.setAttribute("aria-pressed", String(Boolean(this.pausedAt)));
    for (const view of this.views.values()) view.pause(this.pausedAt);
  }

  fullScreen() {
    this.views.get(this.enlarged)?.stage.requestFullscreen();
  }

  snapshot() {
    const view = this.views.get(this.enlarged);
    if (!view?.hasFrame) return;
    const { width, height } = view.canvas;
    const copy = node("canvas", { width, height });
    const context = copy.getContext("2d");
    context.drawImage(view.canvas, 0, 0);
    if (this.withLabels.checked)
      drawAnnotations(context, width, height, view.state, Math.max(12, width / 48));
    const capturedAt = new Date(view.state.at - (view.state.frame_age_ms ?? 0));
    copy.toBlob(
      (blob) => saveAs(blob, `${view.name} ${fileTime(capturedAt)}.jpg`),
      "image/jpeg",
      0.92,
    );
  }

  updateLatency() {
    const view = this.views.get(this.enlarged);
    this.latency.update(view?.state, view?.drawMs);
  }

  /** For screen readers: the enlarged camera's top label and open events, when they change. */
  announce() {
    const view = this.views.get(this.enlarged);
    if (!view?.state || view.pausedAt || document.hidden || !this.checkVisibility()) return;
    const text = announcementOf(view);
    if (text !== this.announcement.textContent) this.announcement.textContent = text;
  }
}

function announcementOf({ name, state, lostAt }) {
  if (lostAt) return `${name}: no connection to Actionwatch`;
  if (!isCurrent(state)) return `${name}: ${state.waiting || state.state}`;
  const named = (zone, label) => (zone ? `${zone}: ${label}` : label);
  const labels = state.zones.length ? state.labels : state.labels.slice(0, 1);
  const events = state.events.map(({ zone, label }) => `event ${named(zone, label)}`);
  return [name, ...labels.map(([zone, label]) => named(zone, label)), ...events].join(", ");
}

/** Between two small frames in ms, so that a page with many cameras stays responsive. */
const smallInterval = (cameras) => (cameras <= 2 ? 0 : cameras <= 6 ? 80 : 160);

/** 2026-11-21 14-05-12 in local time, without colons for file names. */
function fileTime(date) {
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace("T", " ").replaceAll(":", "-");
}

customElements.define("aw-live", Live);
