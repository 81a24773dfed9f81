// What a visitor sees: their picture with labels and open events over it, and the events so far.
import { lasting, node, percent, when } from "../api.js";

const MOST_LISTED = 50;
const SAY_SECONDS_BELOW = 30;
const OLD_S = 4; // labels of so long ago say nothing about now

/** `began` is when a webcam's time 0 was (milliseconds since 1970), null for a file. */
export class View {
  #labels = node("ul", { class: "aw-try-labels", "aria-label": "what the model sees now" });
  #badges = node("div", { class: "aw-try-badges" });
  #notice = node("p", { class: "aw-try-notice" });
  #left = node("p", { class: "aw-try-left" });
  #events = node("ul", { class: "aw-try-events", "aria-live": "polite" });
  #none = node("p", { class: "aw-quiet" }, "None yet.");
  #rows = new Map(); // by the event's id
  #shown = new Map(); // what each part shows, so that only changes are drawn
  #began;

  constructor(video, began) {
    this.#began = began;
    this.stage = node(
      "div",
      { class: "aw-try-stage" },
      video,
      node("div", { class: "aw-try-over" }, this.#badges, this.#labels),
      this.#notice,
      this.#left,
    );
    this.list = node(
      "section",
      { class: "aw-try-list" },
      node("h2", {}, "Events of this visit"),
      this.#none,
      this.#events,
    );
    const shape = () => {
      const ratio = video.videoWidth / video.videoHeight;
      if (ratio) this.stage.style.setProperty("--aw-ratio", ratio.toFixed(4));
    };
    video.addEventListener("resize", shape);
    shape();
    this.notice("Connecting");
  }

  notice(text) {
    this.#notice.textContent = text;
  }

  /** An answer of the server. */
  told({ waiting_s: waiting, age_s: age, labels, events, seconds_left: left }) {
    this.notice(waitingFor(waiting, age));
    this.#draw("labels", labels, this.#labels, () => labels.map(bar));
    this.#draw("events", events, this.#badges, () => events.map(badge));
    events.forEach((event) => this.#note(event));
    this.#left.textContent = left < SAY_SECONDS_BELOW ? `${left} s left` : "";
  }

  /** The visit is over: what was seen stays in the list. */
  end() {
    this.notice("");
    this.#left.textContent = "";
  }

  #draw(part, what, into, make) {
    const key = JSON.stringify(what);
    if (this.#shown.get(part) === key) return;
    this.#shown.set(part, key);
    into.replaceChildren(...make());
  }

  #note({ id, label, start_s: start, seconds }) {
    let row = this.#rows.get(id);
    if (!row) {
      row = { seconds: -1, lasted: node("span", { class: "aw-quiet" }) };
      this.#rows.set(id, row);
      this.#none.remove();
      this.#events.prepend(
        node("li", {}, this.#time(start), " ", node("strong", {}, label), " ", row.lasted),
      );
      if (this.#events.children.length > MOST_LISTED) this.#events.lastChild.remove();
    }
    if (row.seconds === seconds) return;
    row.seconds = seconds;
    row.lasted.textContent = lasting(seconds);
  }

  #time(start) {
    if (this.#began !== null)
      return when(new Date(this.#began + 1000 * start).toISOString(), { withDay: false });
    const minutes = Math.floor(Math.max(0, start) / 60);
    const seconds = Math.floor(Math.max(0, start) % 60);
    return node("span", {}, `${minutes}:${String(seconds).padStart(2, "0")}`);
  }
}

function waitingFor(seconds, age) {
  if (age > OLD_S) return `The model is busy: this is from ${lasting(age)} ago`;
  if (age !== null) return "";
  if (seconds > 0) return `Collecting pictures: ${seconds.toFixed(1)} s to go`;
  return "Waiting for the model; it sees the watch's own cameras first";
}

function bar([label, share], row) {
  const filled = node("span", { class: row ? "aw-try-bar" : "aw-try-bar aw-try-best" });
  filled.style.width = `${100 * share}%`;
  return node("li", {}, filled, node("span", {}, label), node("span", {}, percent(share)));
}

function badge({ label, seconds }) {
  return node("span", { class: "aw-try-badge" }, `● ${label}  ${lasting(seconds)}`);
}
