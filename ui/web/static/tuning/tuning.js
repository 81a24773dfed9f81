// <aw-tuning>: other thresholds tried on the scores that were kept, and saved if they are better.
import { ask, button, get, me, node, ownStyle, whileSeen } from "../api.js";
import { Chart } from "./tuning_chart.js";
import { PolicyForm } from "./tuning_policy.js";
import { legend, missing, notesOf, saidOf, tableOf } from "./tuning_text.js";

const spans = { "Last hour": 3600, "Last day": 86400, "All that is kept": 366 * 86400 };
const pauseMs = 60; // between the last touch of a slider and the question

class Tuning extends HTMLElement {
  async connectedCallback() {
    ownStyle(this);
    this.#lay();
    whileSeen(this, 3000, () =>
      this.state?.model && this.state.cameras.length ? null : this.#load(),
    );
    await this.#load();
  }

  disconnectedCallback() {
    clearTimeout(this.later);
    this.running?.abort();
  }

  #lay() {
    const select = (change) => node("select", { change });
    this.camera = select(() => this.#begin());
    this.span = select(() => this.#begin());
    this.span.append(
      ...Object.entries(spans).map(([name, value]) =>
        node("option", { value, selected: value === 3600 }, name),
      ),
    );
    this.label = select(() => this.#try());
    this.form = new PolicyForm(() => this.#touched());
    this.chart = new Chart();
    this.said = node("p", { class: "aw-tuning-said", role: "status" });
    this.notes = node("div", { class: "aw-quiet" });
    this.problem = node("p", { class: "aw-problem", role: "alert" });
    this.table = node("div", {
      class: "aw-scroll",
      tabindex: 0,
      role: "region",
      "aria-label": "Events by label",
    });
    this.save = button("Save", () => this.#save(), { class: "aw-main" });
    this.back = button("Back to what is in force", () => this.#reset());
    this.saved = node("div", { class: "aw-quiet", role: "status" });
    const field = (name, control) => node("label", { class: "aw-field" }, name, control);
    this.body = node(
      "div",
      { class: "aw-tuning-body" },
      node(
        "section",
        { "aria-label": "Thresholds" },
        this.form.node,
        node("div", { class: "aw-row" }, this.save, this.back),
        this.saved,
      ),
      node(
        "section",
        { class: "aw-tuning-result", "aria-label": "What would have been logged" },
        node(
          "div",
          { class: "aw-row" },
          field("Camera", this.camera),
          field("Time", this.span),
          field("Curve of", this.label),
          button("Newest", () => this.#begin()),
        ),
        this.said,
        this.chart.node,
        legend(),
        this.notes,
        this.table,
      ),
    );
    const about =
      "Move a slider, and see at once what would have been logged. Nothing changes until you save.";
    this.replaceChildren(node("p", { class: "aw-quiet" }, about), this.problem, this.body);
    this.body.hidden = true;
  }

  async #load() {
    try {
      [this.state, this.who] = await Promise.all([get("api/tuning"), me()]);
    } catch (error) {
      this.problem.textContent = error.message;
      return;
    }
    const { state } = this;
    const isReady = Boolean(state.model) && state.cameras.length > 0;
    this.problem.textContent = isReady ? "" : missing(state);
    this.body.hidden = !isReady;
    if (!isReady) return;
    this.save.hidden = !this.who.may_change;
    const chosen = this.camera.value;
    this.camera.replaceChildren(
      ...state.cameras.map((name) => node("option", { value: name }, name)),
    );
    if (state.cameras.includes(chosen)) this.camera.value = chosen;
    this.#reset();
  }

  #reset() {
    const { policy, labels, background } = this.state;
    this.form.set(policy, labels, background);
    this.#labelChoice([]);
    this.saved.replaceChildren();
    this.#begin();
  }

  /** From now on another stretch of scores: its end stays, so that only the policy differs. */
  #begin() {
    const until = Date.now();
    this.until = new Date(until).toISOString();
    this.since = new Date(until - Number(this.span.value) * 1000).toISOString();
    this.#try();
  }

  #touched() {
    this.saved.replaceChildren();
    if (this.form.label && this.label.value) this.label.value = this.form.label;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.#try(), pauseMs);
  }

  async #try() {
    clearTimeout(this.later);
    this.running?.abort(); // what it would say is of no use any more
    const running = (this.running = new AbortController());
    const { camera, since, until, label } = this;
    const wanted = {
      policy: this.form.policy,
      camera: camera.value,
      since,
      until,
      label: label.value || null,
    };
    try {
      this.#show(await ask("POST", "api/tuning", wanted, running.signal));
      this.problem.textContent = "";
    } catch (error) {
      if (running.signal.aborted) return;
      if (error.status === 429) this.later = setTimeout(() => this.#try(), 500);
      else this.problem.textContent = error.message;
    }
  }

  #show(tried) {
    this.#labelChoice(tried.labels);
    this.chart.show(tried, this.form.of(tried.label));
    this.said.replaceChildren(...saidOf(tried));
    this.notes.replaceChildren(...notesOf(tried).map((note) => node("p", {}, ...note)));
    this.table.replaceChildren(tableOf(tried.labels));
    this.table.hidden = !tried.labels.length;
  }

  #labelChoice(counted) {
    const chosen = this.label.value;
    const busy = counted.map((one) => one.label);
    const names = [...busy, ...this.form.labels.filter((label) => !busy.includes(label))];
    this.label.replaceChildren(
      node(
        "option",
        { value: "" },
        busy.length ? `the most frequent: ${busy[0]}` : "the most frequent",
      ),
      ...names.map((name) => node("option", { value: name }, name)),
    );
    if (names.includes(chosen)) this.label.value = chosen;
  }

  async #save() {
    this.save.disabled = true;
    try {
      if (this.state.cannot_save) return await this.#offerText();
      const { applied, needs_restart: waiting } = await ask("PUT", "api/tuning", {
        policy: this.form.policy,
      });
      this.state = await get("api/tuning");
      const said =
        applied.length || waiting.length
          ? `Saved in ${this.state.file}, and in force from now on.`
          : "That is in force already.";
      this.saved.replaceChildren(
        node("p", {}, said),
        ...(waiting.length ? [node("p", {}, `After a restart: ${waiting.join(", ")}`)] : []),
      );
      this.problem.textContent = "";
    } catch (error) {
      this.problem.textContent = error.message;
    } finally {
      this.save.disabled = false;
    }
  }

  async #offerText() {
    const text = await ask("POST", "api/tuning/text", { policy: this.form.policy });
    const reason = this.state.cannot_save;
    const shown = node(
      "pre",
      { tabindex: 0, class: "aw-tuning-text", "aria-label": "The lines for a file" },
      text,
    );
    this.saved.replaceChildren(
      node("p", {}, `${reason[0].toUpperCase()}${reason.slice(1)}.`),
      shown,
    );
  }
}

customElements.define("aw-tuning", Tuning);
