// <aw-tuning>: previews other thresholds on stored scores, and saves them.
import { request, button, get, currentUser, node, ownStyle, pollWhileVisible } from "../api.js";
import { Chart } from "./tuning_chart.js";
import { PolicyForm } from "./tuning_policy.js";
import { legend, notesOf, summaryOf, tableOf, unavailableReason } from "./tuning_text.js";

const PERIODS = { "Last hour": 3600, "Last day": 86400, "All scores": 366 * 86400 };
const DEBOUNCE_MS = 60; // between the last slider move and the request

class Tuning extends HTMLElement {
  async connectedCallback() {
    ownStyle(this);
    this.#layOut();
    pollWhileVisible(this, 3000, () =>
      this.state?.model && this.state.cameras.length ? null : this.#load(),
    );
    await this.#load();
  }

  disconnectedCallback() {
    clearTimeout(this.debounce);
    this.pending?.abort();
  }

  #layOut() {
    const select = (change) => node("select", { change });
    this.camera = select(() => this.#updatePeriod());
    this.period = select(() => this.#updatePeriod());
    this.period.append(
      ...Object.entries(PERIODS).map(([name, value]) =>
        node("option", { value, selected: value === 3600 }, name),
      ),
    );
    this.label = select(() => this.#preview());
    this.form = new PolicyForm(() => this.#onEdit());
    this.chart = new Chart();
    this.summary = node("p", { class: "aw-tuning-summary", role: "status" });
    this.notes = node("div", { class: "aw-subdued" });
    this.error = node("p", { class: "aw-error", role: "alert" });
    this.table = node("div", {
      class: "aw-scroll",
      tabindex: 0,
      role: "region",
      "aria-label": "Events by label",
    });
    this.save = button("Save", () => this.#save(), { class: "aw-primary" });
    this.resetButton = button("Reset to current", () => this.#reset());
    this.saved = node("div", { class: "aw-subdued", role: "status" });
    const field = (name, control) => node("label", { class: "aw-field" }, name, control);
    this.body = node(
      "div",
      { class: "aw-tuning-body" },
      node(
        "section",
        { "aria-label": "Thresholds" },
        this.form.node,
        node("div", { class: "aw-row" }, this.save, this.resetButton),
        this.saved,
      ),
      node(
        "section",
        { class: "aw-tuning-result", "aria-label": "Preview" },
        node(
          "div",
          { class: "aw-row" },
          field("Camera", this.camera),
          field("Period", this.period),
          field("Curve", this.label),
          button("Refresh", () => this.#updatePeriod()),
        ),
        this.summary,
        this.chart.node,
        legend(),
        this.notes,
        this.table,
      ),
    );
    const about =
      "Move a slider to preview the events that it would log. Nothing changes until you save.";
    this.replaceChildren(node("p", { class: "aw-subdued" }, about), this.error, this.body);
    this.body.hidden = true;
  }

  async #load() {
    try {
      [this.state, this.user] = await Promise.all([get("api/tuning"), currentUser()]);
    } catch (error) {
      this.error.textContent = error.message;
      return;
    }
    const { state } = this;
    const isReady = Boolean(state.model) && state.cameras.length > 0;
    this.error.textContent = isReady ? "" : unavailableReason(state);
    this.body.hidden = !isReady;
    if (!isReady) return;
    this.save.hidden = !this.user.may_change;
    const selected = this.camera.value;
    this.camera.replaceChildren(
      ...state.cameras.map((name) => node("option", { value: name }, name)),
    );
    if (state.cameras.includes(selected)) this.camera.value = selected;
    this.#reset();
  }

  #reset() {
    const { policy, labels, background } = this.state;
    this.form.set(policy, labels, background);
    this.#showLabels([]);
    this.saved.replaceChildren();
    this.#updatePeriod();
  }

  /** Fix the period until the next call, so that only the policy differs between previews. */
  #updatePeriod() {
    const until = Date.now();
    this.until = new Date(until).toISOString();
    this.since = new Date(until - Number(this.period.value) * 1000).toISOString();
    this.#preview();
  }

  #onEdit() {
    this.saved.replaceChildren();
    if (this.form.label && this.label.value) this.label.value = this.form.label;
    clearTimeout(this.debounce);
    this.debounce = setTimeout(() => this.#preview(), DEBOUNCE_MS);
  }

  async #preview() {
    clearTimeout(this.debounce);
    this.pending?.abort(); // superseded
    const pending = (this.pending = new AbortController());
    const { camera, since, until, label } = this;
    const body = {
      policy: this.form.policy,
      camera: camera.value,
      since,
      until,
      label: label.value || null,
    };
    try {
      this.#show(await request("POST", "api/tuning", body, pending.signal));
      this.error.textContent = "";
    } catch (error) {
      if (pending.signal.aborted) return;
      if (error.status === 429) this.debounce = setTimeout(() => this.#preview(), 500);
      else this.error.textContent = error.message;
    }
  }

  #show(preview) {
    this.#showLabels(preview.labels);
    this.chart.show(preview, this.form.policyOf(preview.label));
    this.summary.replaceChildren(...summaryOf(preview));
    this.notes.replaceChildren(...notesOf(preview).map((note) => node("p", {}, ...note)));
    this.table.replaceChildren(tableOf(preview.labels));
    this.table.hidden = !preview.labels.length;
  }

  #showLabels(counts) {
    const selected = this.label.value;
    const frequent = counts.map((one) => one.label);
    const names = [...frequent, ...this.form.labels.filter((label) => !frequent.includes(label))];
    this.label.replaceChildren(
      node(
        "option",
        { value: "" },
        frequent.length ? `most frequent: ${frequent[0]}` : "most frequent",
      ),
      ...names.map((name) => node("option", { value: name }, name)),
    );
    if (names.includes(selected)) this.label.value = selected;
  }

  async #save() {
    this.save.disabled = true;
    try {
      if (this.state.save_error) return await this.#showYaml();
      const { applied, needs_restart: needsRestart } = await request("PUT", "api/tuning", {
        policy: this.form.policy,
      });
      this.state = await get("api/tuning");
      const text =
        applied.length || needsRestart.length
          ? `Saved to ${this.state.file} and applied.`
          : "No changes to the current policy.";
      this.saved.replaceChildren(
        node("p", {}, text),
        ...(needsRestart.length
          ? [node("p", {}, `Requires a restart: ${needsRestart.join(", ")}`)]
          : []),
      );
      this.error.textContent = "";
    } catch (error) {
      this.error.textContent = error.message;
    } finally {
      this.save.disabled = false;
    }
  }

  async #showYaml() {
    const text = await request("POST", "api/tuning/text", { policy: this.form.policy });
    const reason = this.state.save_error;
    const yaml = node(
      "pre",
      { tabindex: 0, class: "aw-tuning-text", "aria-label": "YAML for the configuration file" },
      text,
    );
    this.saved.replaceChildren(
      node("p", {}, `${reason[0].toUpperCase()}${reason.slice(1)}.`),
      yaml,
    );
  }
}

customElements.define("aw-tuning", Tuning);
