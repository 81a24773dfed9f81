// The review of an event: confirm, correct or reject it, add a note, or delete it.
import { request, button, node } from "../api.js";

const VERDICTS = {
  confirmed: "Confirmed",
  corrected: "Corrected",
  rejected: "Rejected (false positive)",
};

/** The review of an event as text, also for viewers; null without one. */
export function reviewText(event) {
  if (!event.verdict && !event.note) return null;
  const verdict = VERDICTS[event.verdict] ?? "Not reviewed";
  const label = event.corrected ? `: ${event.corrected}` : "";
  const by =
    event.reviewed_by && event.reviewed_by !== "everybody" ? `, by ${event.reviewed_by}` : "";
  return `${verdict}${label}${by}`;
}

/** The controls. `onChange` is called with the updated event, `onDelete` with its id. */
export class Review {
  constructor(event, labelsId, onChange, onDelete) {
    Object.assign(this, { event, onChange, onDelete });
    this.error = node("p", { class: "aw-error", role: "alert" });
    this.status = node("span", { class: "aw-subdued", role: "status" });
    this.verdicts = {
      confirmed: button("Confirm", () => this.#save({ verdict: "confirmed" })),
      corrected: button("Correct …", () => this.#showLabelForm()),
      rejected: button("Reject", () => this.#save({ verdict: "rejected" })),
    };
    this.verdicts.rejected.title = "False positive";
    this.undo = button("Undo review", () => this.#save({ verdict: "" }));
    this.labelForm = this.#labelForm(labelsId);
    this.note = node("textarea", { rows: 2, maxlength: 2000 });
    this.dialog = this.#dialog();
    this.node = this.#layout();
    this.update(event);
  }

  /** Update the event. A note that is being edited stays. */
  update(event) {
    const isEditingNote = this.note.value !== this.#note;
    this.event = event;
    for (const [verdict, control] of Object.entries(this.verdicts)) {
      control.setAttribute("aria-pressed", String(event.verdict === verdict));
    }
    this.undo.hidden = !event.verdict;
    if (!isEditingNote) this.note.value = event.note;
    this.#note = event.note;
    this.remove.disabled = event.end === null;
    this.remove.title = event.end === null ? "Open events can't be deleted." : "";
  }

  #note = "";

  #layout() {
    const saveNote = button("Save note", () => this.#save({ note: this.note.value }));
    this.remove = button("Delete …", () => this.dialog.showModal());
    return node(
      "div",
      { class: "aw-review", role: "group", "aria-label": "Review" },
      node("div", { class: "aw-row" }, ...Object.values(this.verdicts), this.undo),
      this.labelForm,
      node("label", { class: "aw-field" }, "Note", this.note),
      node("div", { class: "aw-row" }, saveNote, this.remove, this.status),
      this.error,
      this.dialog,
    );
  }

  #labelForm(labelsId) {
    const label = node("input", { list: labelsId, required: true, maxlength: 200 });
    const submit = (event) => {
      event.preventDefault();
      this.#save({ verdict: "corrected", corrected: label.value });
    };
    this.label = label;
    return node(
      "form",
      { class: "aw-row", hidden: true, submit },
      node("label", { class: "aw-field" }, "Correct label", label),
      node("button", { class: "aw-button aw-primary" }, "Save"),
      button("Cancel", () => (this.labelForm.hidden = true)),
    );
  }

  #showLabelForm() {
    this.labelForm.hidden = false;
    this.label.value = this.event.corrected;
    this.label.focus();
  }

  #dialog() {
    const close = () => this.dialog.close();
    return node(
      "dialog",
      { class: "aw-dialog", "aria-label": "Delete this event?" },
      node("p", {}, "Delete this event with its clip and snapshot? This can't be undone."),
      node(
        "div",
        { class: "aw-row" },
        button("Cancel", close, { autofocus: true }),
        button("Delete", () => this.#delete(), { class: "aw-primary" }),
      ),
    );
  }

  async #save(change) {
    await this.#try(async () => {
      const event = await request("PATCH", `api/events/${this.event.id}`, change);
      this.labelForm.hidden = true;
      this.#note = this.note.value === change.note ? this.note.value : this.#note;
      this.status.textContent = "Saved.";
      this.onChange(event);
    });
  }

  async #delete() {
    this.dialog.close();
    await this.#try(async () => {
      await request("DELETE", `api/events/${this.event.id}`);
      this.onDelete(this.event.id);
    });
  }

  async #try(work) {
    this.error.textContent = this.status.textContent = "";
    try {
      await work();
    } catch (error) {
      this.error.textContent = `Not saved: ${error.message}`;
    }
  }
}
