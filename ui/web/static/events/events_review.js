// What a person says of an event: right, wrong, what it was instead, a note; or that it should go.
import { ask, button, node } from "../api.js";

const saidIn = {
  confirmed: "Confirmed",
  corrected: "Corrected",
  rejected: "Rejected: nothing of the kind happened",
};

/** What was said of an event, in words; for those too who may not say anything. */
export function saidOf(event) {
  if (!event.verdict && !event.note) return null;
  const verdict = saidIn[event.verdict] ?? "Not reviewed yet";
  const label = event.corrected ? `: ${event.corrected}` : "";
  const by =
    event.reviewed_by && event.reviewed_by !== "everybody" ? `, by ${event.reviewed_by}` : "";
  return `${verdict}${label}${by}`;
}

/** The controls. `changed` is called with the event as it is then, `deleted` with its id. */
export class Review {
  constructor(event, labelsId, changed, deleted) {
    Object.assign(this, { event, changed, deleted });
    this.problem = node("p", { class: "aw-problem", role: "alert" });
    this.told = node("span", { class: "aw-quiet", role: "status" });
    this.verdicts = {
      confirmed: button("Confirm", () => this.#say({ verdict: "confirmed" })),
      corrected: button("Correct …", () => this.#ask()),
      rejected: button("Reject", () => this.#say({ verdict: "rejected" })),
    };
    this.verdicts.rejected.title = "nothing of the kind happened";
    this.back = button("Take back", () => this.#say({ verdict: "" }));
    this.right = this.#labelForm(labelsId);
    this.note = node("textarea", { rows: 2, maxlength: 2000 });
    this.dialog = this.#dialog();
    this.node = this.#layout();
    this.update(event);
  }

  /** Newer facts. What is being typed stays. */
  update(event) {
    const noteIsTyped = this.note.value !== this.#note;
    this.event = event;
    for (const [verdict, one] of Object.entries(this.verdicts)) {
      one.setAttribute("aria-pressed", String(event.verdict === verdict));
    }
    this.back.hidden = !event.verdict;
    if (!noteIsTyped) this.note.value = event.note;
    this.#note = event.note;
    this.remove.disabled = event.end === null;
    this.remove.title = event.end === null ? "it can be deleted when it is over" : "";
  }

  #note = "";

  #layout() {
    const saveNote = button("Save the note", () => this.#say({ note: this.note.value }));
    this.remove = button("Delete …", () => this.dialog.showModal());
    return node(
      "div",
      { class: "aw-review", role: "group", "aria-label": "Review" },
      node("div", { class: "aw-row" }, ...Object.values(this.verdicts), this.back),
      this.right,
      node("label", { class: "aw-field" }, "Note", this.note),
      node("div", { class: "aw-row" }, saveNote, this.remove, this.told),
      this.problem,
      this.dialog,
    );
  }

  #labelForm(labelsId) {
    const label = node("input", { list: labelsId, required: true, maxlength: 200 });
    const submit = (event) => {
      event.preventDefault();
      this.#say({ verdict: "corrected", corrected: label.value });
    };
    this.label = label;
    return node(
      "form",
      { class: "aw-row", hidden: true, submit },
      node("label", { class: "aw-field" }, "What was it?", label),
      node("button", { class: "aw-button aw-main" }, "Save"),
      button("Cancel", () => (this.right.hidden = true)),
    );
  }

  #ask() {
    this.right.hidden = false;
    this.label.value = this.event.corrected;
    this.label.focus();
  }

  #dialog() {
    const close = () => this.dialog.close();
    return node(
      "dialog",
      { class: "aw-dialog", "aria-label": "Delete this event?" },
      node("p", {}, "Delete this event with its clip and its picture? It can't be brought back."),
      node(
        "div",
        { class: "aw-row" },
        button("Keep it", close, { autofocus: true }),
        button("Delete", () => this.#delete(), { class: "aw-main" }),
      ),
    );
  }

  async #say(change) {
    await this.#try(async () => {
      const event = await ask("PATCH", `api/events/${this.event.id}`, change);
      this.right.hidden = true;
      this.#note = this.note.value === change.note ? this.note.value : this.#note;
      this.told.textContent = "Saved.";
      this.changed(event);
    });
  }

  async #delete() {
    this.dialog.close();
    await this.#try(async () => {
      await ask("DELETE", `api/events/${this.event.id}`);
      this.deleted(this.event.id);
    });
  }

  async #try(work) {
    this.problem.textContent = this.told.textContent = "";
    try {
      await work();
    } catch (error) {
      this.problem.textContent = `Not saved: ${error.message}`;
    }
  }
}
