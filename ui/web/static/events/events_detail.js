// The details of an event: clip, review and facts.
import { button, get, currentUser, node, percent, localTime } from "../api.js";
import { clipOf, isClipPending } from "./events_clip.js";
import { Review, reviewText } from "./events_review.js";
import { durationOf, endReason, labelOf } from "./events_text.js";

export class EventDetail {
  /** `onChange` is called with an event, `onDelete` with an id. */
  constructor({ onClose, onChange, onDelete, labelsId }) {
    Object.assign(this, { onClose, onChange, onDelete, labelsId });
    this.event = null;
    this.node = node("section", {
      class: "aw-detail",
      "aria-label": "Event details",
      hidden: true,
    });
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.target.closest("dialog")) this.close();
    });
  }

  async open(id, { focus = false } = {}) {
    this.requestedId = id;
    try {
      const [event, user] = await Promise.all([get(`api/events/${id}`), currentUser()]);
      if (this.requestedId === id) this.#show(event, user);
    } catch (error) {
      if (this.requestedId === id)
        this.#showMessage(
          error.status === 404 ? "This event is no longer in the log." : error.message,
        );
    }
    if (focus && this.requestedId === id) this.node.querySelector("h2").focus();
  }

  close() {
    this.requestedId = "";
    this.event = null;
    this.node.hidden = true;
    this.node.replaceChildren();
    this.onClose();
  }

  /** Update the event, if it is the one on display. */
  update(event) {
    if (this.event?.id !== event.id) return;
    const before = this.event;
    this.event = { ...before, ...event };
    const media = (one) =>
      [one.clip, one.snapshot, one.clip_note, one.end, isClipPending(one)].join("|");
    if (media(before) !== media(this.event)) this.media.replaceChildren(...clipOf(this.event));
    this.#renderFacts();
    this.review?.update(this.event);
  }

  /** Show that the event was deleted. */
  markDeleted(id) {
    if (this.event?.id === id) this.#showMessage("This event was deleted.");
  }

  /** Update the duration of an open event, and load a pending clip. */
  async tick() {
    if (!this.event) return;
    if (this.event.end === null) this.#renderFacts();
    else if (isClipPending(this.event)) this.update(await get(`api/events/${this.event.id}`));
  }

  #show(event, user) {
    this.event = event;
    this.media = node("div", { class: "aw-media" }, ...clipOf(event));
    this.title = node("h2", { tabindex: -1 });
    this.reviewStatus = node("p", { role: "status" });
    this.facts = node("dl", { class: "aw-details" });
    this.review = user.may_change
      ? new Review(
          event,
          this.labelsId,
          (changed) => this.onChange(changed),
          (id) => this.onDelete(id),
        )
      : null;
    this.#layOut(this.title, this.reviewStatus, this.media, this.review?.node, this.facts);
    this.#renderFacts();
  }

  #showMessage(text) {
    this.event = null;
    this.#layOut(node("h2", { tabindex: -1 }, "Event"), node("p", {}, text));
  }

  #layOut(title, ...parts) {
    const close = button("Close", () => this.close());
    const head = node("div", { class: "aw-detail-head" }, title, close);
    this.node.replaceChildren(head, ...parts.filter(Boolean));
    this.node.hidden = false;
  }

  #renderFacts() {
    const { event } = this;
    this.title.replaceChildren(labelOf(event));
    const status = reviewText(event) ?? "";
    if (this.reviewStatus.textContent !== status) this.reviewStatus.textContent = status;
    const facts = [
      ["Start", localTime(event.start)],
      ["Duration", [durationOf(event), endReason(event)].filter(Boolean).join("; ")],
      ["Camera", event.camera],
      ["Detected", localTime(event.detected_at)],
      ["Peak", `${percent(event.peak)}, mean ${percent(event.mean)}`],
      ["Model", event.model],
      ...(event.note ? [["Note", event.note]] : []),
    ];
    this.facts.replaceChildren(
      ...facts.map(([name, value]) => node("div", {}, node("dt", {}, name), node("dd", {}, value))),
    );
  }
}
