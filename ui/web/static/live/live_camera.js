// One camera of the Live tab: its picture on a canvas, what is drawn over it on another, and words
// over both where the picture is not of now.
import { node, when } from "../api.js";
import { drawOver, isCurrent } from "./live_drawing.js";
import { Line } from "./live_socket.js";

const SMALL_PX = 13; // height of letters
const LARGE_PX = 16;
const STATUS_EVERY_MS = 1000;

export class CameraView {
  /** `enlarge()` is called when it is chosen; `pause()` is the ms between two small pictures. */
  constructor(name, { enlarge, pause }) {
    this.name = name;
    this.pauseMs = pause;
    this.large = this.seen = false;
    this.pausedAt = this.lostAt = this.state = null;
    this.build(enlarge);
    this.watchSize();
    this.line = new Line(name, {
      wanted: () => this.wanted(),
      pause: () => (this.large ? 0 : this.pauseMs()),
      show: (state, jpeg) => this.show(state, jpeg),
      lost: (since) => this.lose(since),
    });
  }

  build(enlarge) {
    this.canvas = node("canvas", { class: "aw-frame", role: "img", width: 640, height: 360 });
    this.canvas.setAttribute("aria-label", `Picture of camera ${this.name}`);
    this.over = node("canvas", { class: "aw-over", "aria-hidden": "true" });
    this.picture = node("div", { class: "aw-picture" }, this.canvas, this.over);
    this.veil = node("div", { class: "aw-veil", hidden: true });
    this.note = node("div", { class: "aw-note", hidden: true });
    this.button = node("button", { type: "button", class: "aw-enlarge", click: enlarge });
    this.button.setAttribute("aria-label", `Show ${this.name} large`);
    this.stage = node(
      "div",
      { class: "aw-stage" },
      this.picture,
      this.veil,
      this.note,
      this.button,
    );
    this.word = node("span", { class: "aw-state" }, "connecting");
    this.status = node("div", { class: "aw-status aw-quiet" });
    this.root = node(
      "section",
      { class: "aw-camera", "aria-label": `Camera ${this.name}`, "data-state": "connecting" },
      node(
        "h2",
        { class: "aw-camera-head" },
        node("span", { class: "aw-name" }, this.name),
        this.word,
      ),
      this.stage,
      this.status,
    );
  }

  watchSize() {
    this.visibility = new IntersectionObserver((entries) => {
      this.seen = entries.at(-1).isIntersecting;
      this.line.wake();
    });
    this.size = new ResizeObserver(() => {
      this.drawOver();
      this.line.wake();
    });
    this.turned = () => this.line.wake();
    document.addEventListener("visibilitychange", this.turned);
    this.visibility.observe(this.stage);
    this.size.observe(this.picture);
  }

  close() {
    this.visibility.disconnect();
    this.size.disconnect();
    document.removeEventListener("visibilitychange", this.turned);
    this.line.close();
    this.root.remove();
  }

  /** How wide the next picture should be; 0 while nobody sees it. */
  wanted() {
    if (!this.seen || document.hidden || this.pausedAt) return 0;
    return Math.max(1, this.picture.clientWidth * devicePixelRatio);
  }

  setLarge(large) {
    this.large = large;
    this.root.classList.toggle("aw-large", large);
    this.button.hidden = large;
    this.drawOver();
    this.line.wake();
  }

  pause(since) {
    this.pausedAt = since;
    this.tell();
    this.line.wake();
  }

  async show(state, jpeg) {
    if (this.pausedAt) return;
    if (jpeg) await this.draw(jpeg);
    const before = this.state;
    this.state = { ...state, at: Date.now() };
    if (!before || changed(before, state)) this.drawOver();
    this.tell();
  }

  async draw(jpeg) {
    const began = performance.now();
    const picture = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (this.canvas.width !== picture.width || this.canvas.height !== picture.height) {
      this.canvas.width = picture.width;
      this.canvas.height = picture.height;
      this.stage.style.setProperty("--aw-shape", picture.width / picture.height);
    }
    this.canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    this.drawMs = performance.now() - began;
    this.hasPicture = true;
  }

  drawOver() {
    const { clientWidth, clientHeight } = this.picture;
    if (!this.state || !clientWidth) return;
    this.over.width = Math.round(clientWidth * devicePixelRatio);
    this.over.height = Math.round(clientHeight * devicePixelRatio);
    const unit = (this.large ? LARGE_PX : SMALL_PX) * devicePixelRatio;
    const context = this.over.getContext("2d");
    drawOver(context, this.over.width, this.over.height, this.state, unit, !this.large);
  }

  lose(since) {
    if (this.lostAt === since) return;
    this.lostAt = since;
    this.tell();
  }

  tell() {
    const state = this.state ?? { state: "connecting", since: null, reason: "", waiting: "" };
    const [words, since, reason] = this.trouble(state);
    const shown = JSON.stringify([words, since, reason, this.pausedAt, state.waiting]);
    if (shown !== this.told) {
      this.told = shown;
      this.root.dataset.state = words ? "away" : state.state;
      this.word.textContent = this.lostAt ? "no connection" : state.fault || state.state;
      this.veil.replaceChildren(
        ...sentence(words, since),
        ...(reason ? [node("span", {}, reason)] : []),
      );
      this.veil.hidden = !words;
      const note = this.pausedAt ? sentence("paused", this.pausedAt) : words ? [] : [state.waiting];
      this.note.replaceChildren(...note);
      this.note.hidden = !this.pausedAt && (Boolean(words) || !state.waiting);
    }
    if (this.large) this.tellNumbers(state);
  }

  /** What is wrong, since when (an ISO time), and why; "" where the picture is of now. */
  trouble(state) {
    if (this.lostAt)
      return ["no connection to Actionwatch", this.lostAt.toISOString(), "trying again"];
    if (state.fault) return [state.fault, state.since, ""];
    const words = {
      connecting: ["connecting", null],
      stalled: ["no new picture", state.since],
      offline: ["offline", state.since],
      failed: ["failed", state.since],
      ended: ["the recording has ended", null],
    }[state.state];
    return words ? [...words, state.reason] : ["", null, ""];
  }

  tellNumbers(state) {
    const now = performance.now();
    if (!state.camera || now - (this.toldAt ?? -Infinity) < STATUS_EVERY_MS) return;
    this.toldAt = now;
    const parts = [this.lostAt ? "no connection" : state.fault || state.state];
    if (isCurrent(state) && !this.lostAt) {
      parts.push(
        `${state.frames_per_s.toFixed(1)} pictures/s`,
        `${state.predictions_per_s.toFixed(1)} predictions/s`,
        `newest prediction ${state.age_ms} ms old`,
      );
    }
    this.status.textContent = parts.join(" · ");
  }
}

const drawn = (state) =>
  JSON.stringify([state.state, state.waiting, state.labels, state.events, state.zones]);
const changed = (before, after) => drawn(before) !== drawn(after);

function sentence(words, since) {
  if (!words) return [];
  const parts = since ? [`${words} since `, when(since, { withDay: !isToday(since) })] : [words];
  return [node("strong", {}, ...parts)];
}

const isToday = (iso) => new Date(iso).toDateString() === new Date().toDateString();
