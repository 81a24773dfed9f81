// The view of a browser session: the video with labels and open events over it, and its events.
import { formatDuration, node, percent, localTime } from "../api.js";

const MAX_LISTED = 50;
const SHOW_REMAINING_BELOW_S = 30;
const STALE_AFTER_S = 4; // older labels say nothing about the current frame

/** `startedAt` is a webcam's time 0 in milliseconds since 1970, null for a file. */
export class View {
  #labels = node("ul", { class: "aw-try-labels", "aria-label": "Current labels" });
  #badges = node("div", { class: "aw-try-badges" });
  #notice = node("p", { class: "aw-try-notice" });
  #remaining = node("p", { class: "aw-try-remaining" });
  #events = node("ul", { class: "aw-try-events", "aria-live": "polite" });
  #none = node("p", { class: "aw-subdued" }, "None yet.");
  #rows = new Map(); // by event id
  #drawn = new Map(); // state by part, so that only changes are drawn
  #startedAt;

  constructor(video, startedAt) {
    this.#startedAt = startedAt;
    this.stage = node(
      "div",
      { class: "aw-try-stage" },
      video,
      node("div", { class: "aw-try-annotations" }, this.#badges, this.#labels),
      this.#notice,
      this.#remaining,
    );
    this.list = node(
      "section",
      { class: "aw-try-list" },
      node("h2", {}, "Events of this session"),
      this.#none,
      this.#events,
    );
    const updateRatio = () => {
      const ratio = video.videoWidth / video.videoHeight;
      if (ratio) this.stage.style.setProperty("--aw-ratio", ratio.toFixed(4));
    };
    video.addEventListener("resize", updateRatio);
    updateRatio();
    this.notice("Connecting");
  }

  notice(text) {
    this.#notice.textContent = text;
  }

  /** Show a response of the server. */
  update({ warmup_s: warmup, age_s: age, labels, events, remaining_s: remaining }) {
    this.notice(noticeOf(warmup, age));
    this.#draw("labels", labels, this.#labels, () => labels.map(bar));
    this.#draw("events", events, this.#badges, () => events.map(badge));
    events.forEach((event) => this.#addToList(event));
    this.#remaining.textContent = remaining < SHOW_REMAINING_BELOW_S ? `${remaining} s left` : "";
  }

  /** The session has ended: its events stay in the list. */
  end() {
    this.notice("");
    this.#remaining.textContent = "";
  }

  #draw(part, state, container, make) {
    const key = JSON.stringify(state);
    if (this.#drawn.get(part) === key) return;
    this.#drawn.set(part, key);
    container.replaceChildren(...make());
  }

  #addToList({ id, label, start_s: start, duration_s: duration }) {
    let row = this.#rows.get(id);
    if (!row) {
      row = { duration: -1, text: node("span", { class: "aw-subdued" }) };
      this.#rows.set(id, row);
      this.#none.remove();
      this.#events.prepend(
        node("li", {}, this.#time(start), " ", node("strong", {}, label), " ", row.text),
      );
      if (this.#events.children.length > MAX_LISTED) this.#events.lastChild.remove();
    }
    if (row.duration === duration) return;
    row.duration = duration;
    row.text.textContent = formatDuration(duration);
  }

  #time(start) {
    if (this.#startedAt !== null)
      return localTime(new Date(this.#startedAt + 1000 * start).toISOString(), { withDay: false });
    const minutes = Math.floor(Math.max(0, start) / 60);
    const seconds = Math.floor(Math.max(0, start) % 60);
    return node("span", {}, `${minutes}:${String(seconds).padStart(2, "0")}`);
  }
}

function noticeOf(warmup, age) {
  if (age > STALE_AFTER_S) return `The model is busy: latest result ${formatDuration(age)} ago`;
  if (age !== null) return "";
  if (warmup > 0) return `Collecting frames: ${warmup.toFixed(1)} s left`;
  return "Waiting for the model; the configured cameras have priority";
}

function bar([label, probability], row) {
  const filled = node("span", { class: row ? "aw-try-bar" : "aw-try-bar aw-try-top" });
  filled.style.width = `${100 * probability}%`;
  return node("li", {}, filled, node("span", {}, label), node("span", {}, percent(probability)));
}

function badge({ label, duration_s: duration }) {
  return node("span", { class: "aw-try-badge" }, `● ${label}  ${formatDuration(duration)}`);
}
