// One camera of the Live tab: its video on a canvas, annotations on another canvas, and text over
// both while there is no current video.
import { node, localTime } from "../api.js";
import { drawAnnotations, isCurrent } from "./live_drawing.js";
import { VideoSocket } from "./live_socket.js";

const SMALL_FONT_PX = 13;
const LARGE_FONT_PX = 16;
const STATS_INTERVAL_MS = 1000;

export class CameraView {
  /** `enlarge()` is called on a click; `minInterval()` is the ms between two small frames. */
  constructor(name, { enlarge, minInterval }) {
    this.name = name;
    this.smallInterval = minInterval;
    this.large = this.visible = false;
    this.pausedAt = this.lostAt = this.state = null;
    this.build(enlarge);
    this.observe();
    this.socket = new VideoSocket(name, {
      targetWidth: () => this.targetWidth(),
      minInterval: () => (this.large ? 0 : this.smallInterval()),
      onFrame: (state, jpeg) => this.onFrame(state, jpeg),
      onConnection: (lostSince) => this.onConnection(lostSince),
    });
  }

  build(enlarge) {
    this.canvas = node("canvas", { class: "aw-frame", role: "img", width: 640, height: 360 });
    this.canvas.setAttribute("aria-label", `Video of camera ${this.name}`);
    this.annotations = node("canvas", { class: "aw-annotations", "aria-hidden": "true" });
    this.video = node("div", { class: "aw-video" }, this.canvas, this.annotations);
    this.overlay = node("div", { class: "aw-overlay", hidden: true });
    this.note = node("div", { class: "aw-note", hidden: true });
    this.button = node("button", { type: "button", class: "aw-enlarge", click: enlarge });
    this.button.setAttribute("aria-label", `Enlarge ${this.name}`);
    this.stage = node(
      "div",
      { class: "aw-stage" },
      this.video,
      this.overlay,
      this.note,
      this.button,
    );
    this.stateText = node("span", { class: "aw-state" }, "connecting");
    this.stats = node("div", { class: "aw-status aw-subdued" });
    this.root = node(
      "section",
      { class: "aw-camera", "aria-label": `Camera ${this.name}`, "data-state": "connecting" },
      node(
        "h2",
        { class: "aw-camera-head" },
        node("span", { class: "aw-name" }, this.name),
        this.stateText,
      ),
      this.stage,
      this.stats,
    );
  }

  observe() {
    this.visibility = new IntersectionObserver((entries) => {
      this.visible = entries.at(-1).isIntersecting;
      this.socket.update();
    });
    this.size = new ResizeObserver(() => {
      this.annotate();
      this.socket.update();
    });
    this.onVisibilityChange = () => this.socket.update();
    document.addEventListener("visibilitychange", this.onVisibilityChange);
    this.visibility.observe(this.stage);
    this.size.observe(this.video);
  }

  close() {
    this.visibility.disconnect();
    this.size.disconnect();
    document.removeEventListener("visibilitychange", this.onVisibilityChange);
    this.socket.close();
    this.root.remove();
  }

  /** The width of the next frame in pixels; 0 while it is not visible. */
  targetWidth() {
    if (!this.visible || document.hidden || this.pausedAt) return 0;
    return Math.max(1, this.video.clientWidth * devicePixelRatio);
  }

  setLarge(large) {
    this.large = large;
    this.root.classList.toggle("aw-large", large);
    this.button.hidden = large;
    this.annotate();
    this.socket.update();
  }

  pause(since) {
    this.pausedAt = since;
    this.render();
    this.socket.update();
  }

  async onFrame(state, jpeg) {
    if (this.pausedAt) return;
    if (jpeg) await this.draw(jpeg);
    const before = this.state;
    this.state = { ...state, at: Date.now() };
    if (!before || isChanged(before, state)) this.annotate();
    this.render();
  }

  async draw(jpeg) {
    const startedAt = performance.now();
    const image = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
    if (this.canvas.width !== image.width || this.canvas.height !== image.height) {
      this.canvas.width = image.width;
      this.canvas.height = image.height;
      this.stage.style.setProperty("--aw-aspect", image.width / image.height);
    }
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
    this.drawMs = performance.now() - startedAt;
    this.hasFrame = true;
  }

  annotate() {
    const { clientWidth, clientHeight } = this.video;
    if (!this.state || !clientWidth) return;
    const { annotations } = this;
    annotations.width = Math.round(clientWidth * devicePixelRatio);
    annotations.height = Math.round(clientHeight * devicePixelRatio);
    const unit = (this.large ? LARGE_FONT_PX : SMALL_FONT_PX) * devicePixelRatio;
    const context = annotations.getContext("2d");
    const { width, height } = annotations;
    drawAnnotations(context, width, height, this.state, unit, !this.large);
  }

  onConnection(lostSince) {
    if (this.lostAt === lostSince) return;
    this.lostAt = lostSince;
    this.render();
  }

  render() {
    const state = this.state ?? { state: "connecting", since: null, reason: "", waiting: "" };
    const [text, since, reason] = this.problem(state);
    const shown = JSON.stringify([text, since, reason, this.pausedAt, state.waiting]);
    if (shown !== this.shown) {
      this.shown = shown;
      this.root.dataset.state = text ? "no-video" : state.state;
      this.stateText.textContent = this.lostAt ? "no connection" : state.fault || state.state;
      this.overlay.replaceChildren(
        ...withTime(text, since),
        ...(reason ? [node("span", {}, reason)] : []),
      );
      this.overlay.hidden = !text;
      const note = this.pausedAt ? withTime("paused", this.pausedAt) : text ? [] : [state.waiting];
      this.note.replaceChildren(...note);
      this.note.hidden = !this.pausedAt && (Boolean(text) || !state.waiting);
    }
    if (this.large) this.renderStats(state);
  }

  /** Why there is no current video: text, since when (ISO time), reason; "" if there is. */
  problem(state) {
    if (this.lostAt)
      return ["no connection to Actionwatch", this.lostAt.toISOString(), "reconnecting"];
    if (state.fault) return [state.fault, state.since, ""];
    const text = {
      connecting: ["connecting", null],
      stalled: ["stalled", state.since],
      offline: ["offline", state.since],
      failed: ["failed", state.since],
      ended: ["end of video", null],
    }[state.state];
    return text ? [...text, state.reason] : ["", null, ""];
  }

  renderStats(state) {
    const now = performance.now();
    if (!state.camera || now - (this.statsAt ?? -Infinity) < STATS_INTERVAL_MS) return;
    this.statsAt = now;
    const parts = [this.lostAt ? "no connection" : state.fault || state.state];
    if (isCurrent(state) && !this.lostAt) {
      parts.push(
        `${state.frames_per_s.toFixed(1)} FPS`,
        `${state.predictions_per_s.toFixed(1)} inferences/s`,
        `prediction age ${state.age_ms} ms`,
      );
    }
    this.stats.textContent = parts.join(" · ");
  }
}

const annotated = (state) =>
  JSON.stringify([state.state, state.waiting, state.labels, state.events, state.zones]);
const isChanged = (before, after) => annotated(before) !== annotated(after);

function withTime(text, since) {
  if (!text) return [];
  const parts = since ? [`${text} since `, localTime(since, { withDay: !isToday(since) })] : [text];
  return [node("strong", {}, ...parts)];
}

const isToday = (iso) => new Date(iso).toDateString() === new Date().toDateString();
