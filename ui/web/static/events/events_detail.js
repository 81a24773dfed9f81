// One event: its clip, what is known of it, and what people say of it.
import { button, get, me, node, percent, when } from "../api.js";
import { clipOf, isAwaited } from "./events_clip.js";
import { Review, saidOf } from "./events_review.js";
import { endedBecause, labelOf, lasted } from "./events_text.js";

export class EventDetail {
  /** `closed` is called when it was closed, `changed` with an event, `deleted` with an id. */
  constructor({ closed, changed, deleted, labelsId }) {
    Object.assign(this, { closed, changed, deleted, labelsId });
    this.event = null;
    this.node = node("section", {
      class: "aw-detail",
      "aria-label": "The chosen event",
      hidden: true,
    });
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.target.closest("dialog")) this.close();
    });
  }

  async open(id, { focus = false } = {}) {
    this.wanted = id;
    try {
      const [event, who] = await Promise.all([get(`api/events/${id}`), me()]);
      if (this.wanted === id) this.#show(event, who);
    } catch (error) {
      if (this.wanted === id)
        this.#tell(error.status === 404 ? "This event is no longer in the log." : error.message);
    }
    if (focus && this.wanted === id) this.node.querySelector("h2").focus();
  }

  close() {
    this.wanted = "";
    this.event = null;
    this.node.hidden = true;
    this.node.replaceChildren();
    this.closed();
  }

  /** Newer facts of an event, if it is the one. */
  update(event) {
    if (this.event?.id !== event.id) return;
    const before = this.event;
    this.event = { ...before, ...event };
    const media = (one) =>
      [one.clip, one.snapshot, one.clip_note, one.end, isAwaited(one)].join("|");
    if (media(before) !== media(this.event)) this.media.replaceChildren(...clipOf(this.event));
    this.#facts();
    this.review?.update(this.event);
  }

  /** Somebody deleted it. */
  strike(id) {
    if (this.event?.id === id) this.#tell("This event was deleted.");
  }

  /** What goes on gets older, and a clip may have come. */
  async tick() {
    if (!this.event) return;
    if (this.event.end === null) this.#facts();
    else if (isAwaited(this.event)) this.update(await get(`api/events/${this.event.id}`));
  }

  #show(event, who) {
    this.event = event;
    this.media = node("div", { class: "aw-media" }, ...clipOf(event));
    this.title = node("h2", { tabindex: -1 });
    this.said = node("p", { role: "status" });
    this.facts = node("dl", { class: "aw-facts" });
    this.review = who.may_change
      ? new Review(
          event,
          this.labelsId,
          (changed) => this.changed(changed),
          (id) => this.deleted(id),
        )
      : null;
    this.#lay(this.title, this.said, this.media, this.review?.node, this.facts);
    this.#facts();
  }

  #tell(text) {
    this.event = null;
    this.#lay(node("h2", { tabindex: -1 }, "Event"), node("p", {}, text));
  }

  #lay(title, ...parts) {
    const close = button("Close", () => this.close());
    const head = node("div", { class: "aw-detail-head" }, title, close);
    this.node.replaceChildren(head, ...parts.filter(Boolean));
    this.node.hidden = false;
  }

  #facts() {
    const { event } = this;
    this.title.replaceChildren(labelOf(event));
    const said = saidOf(event) ?? "";
    if (this.said.textContent !== said) this.said.textContent = said;
    const facts = [
      ["Began", when(event.start)],
      ["Lasted", [lasted(event), endedBecause(event)].filter(Boolean).join("; ended because ")],
      ["Camera", event.camera],
      ["Noticed", when(event.detected_at)],
      ["Peak", `${percent(event.peak)}, ${percent(event.mean)} on average`],
      ["Model", event.model],
      ...(event.note ? [["Note", event.note]] : []),
    ];
    this.facts.replaceChildren(
      ...facts.map(([name, value]) => node("div", {}, node("dt", {}, name), node("dd", {}, value))),
    );
  }
}
