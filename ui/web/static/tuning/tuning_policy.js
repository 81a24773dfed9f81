// The form of an event policy: a slider for each threshold, a checkbox for each label.
import { button, node } from "../api.js";

const FIELDS = [
  {
    key: "threshold",
    name: "Threshold",
    hint: "an event starts at this probability",
    isProbability: true,
  },
  {
    key: "release_threshold",
    name: "Release threshold",
    hint: "an event ends below this probability",
    isProbability: true,
  },
  {
    key: "min_duration",
    name: "Min. duration",
    hint: "shorter events are dropped",
    max: 10,
    step: 0.1,
  },
  {
    key: "merge_gap",
    name: "Merge gap",
    hint: "events of a label with a shorter gap are merged",
    max: 20,
    step: 0.1,
  },
  {
    key: "cooldown",
    name: "Cooldown",
    hint: "no new event of the same label for this long after an event",
    max: 300,
    step: 1,
  },
  {
    key: "smoothing",
    name: "Smoothing",
    hint: "time over which probabilities are averaged",
    max: 5,
    step: 0.05,
    isGlobal: true,
  },
];
const MAX_SECONDS = 86400;

export class PolicyForm {
  /** `onChange` is called after each change by the user. */
  constructor(onChange) {
    this.onChange = onChange;
    this.scope = node("select", { change: () => this.#fill() });
    this.useDefault = button("Use default", () => this.#removeOverrides());
    this.rows = Object.fromEntries(FIELDS.map((field) => [field.key, this.#row(field)]));
    this.search = node("input", {
      type: "search",
      placeholder: "find a label",
      "aria-label": "Find a label",
      input: () => this.#filterLabels(),
    });
    this.boxes = node("div", { class: "aw-tuning-boxes" });
    this.node = node(
      "div",
      { class: "aw-tuning-policy" },
      node(
        "div",
        { class: "aw-row" },
        node("label", { class: "aw-field" }, "Thresholds for", this.scope),
        this.useDefault,
      ),
      ...FIELDS.map((field) => this.rows[field.key].node),
      node(
        "fieldset",
        { class: "aw-tuning-labels" },
        node("legend", {}, "Labels with events"),
        this.search,
        this.boxes,
      ),
    );
  }

  /** Load a policy for the labels of a model. */
  set(policy, labels, background) {
    this.policy = structuredClone(policy);
    this.labels = labels.filter((label) => !background.includes(label));
    const scope = this.scope.value;
    const options = this.labels.map((label) => node("option", { value: `=${label}` }, label));
    this.scope.replaceChildren(node("option", { value: "" }, "all labels"), ...options);
    if (this.labels.includes(scope.slice(1))) this.scope.value = scope;
    this.search.hidden = this.labels.length < 20;
    this.boxes.replaceChildren(...this.labels.map((label) => this.#box(label)));
    this.#fill();
  }

  /** The policy of a label, with its overrides. */
  policyOf(label) {
    const overrides = Object.entries(this.policy.labels[label] ?? {}).filter(
      ([, value]) => value != null,
    );
    return { ...this.policy, ...Object.fromEntries(overrides) };
  }

  get label() {
    return this.scope.value.slice(1);
  }

  #row(field) {
    const id = `aw-tuning-${field.key}`;
    const range = {
      min: 0,
      max: field.isProbability ? 1 : field.max,
      step: field.isProbability ? 0.01 : field.step,
    };
    const onInput = (event) => this.#set(field, event.target.valueAsNumber);
    const slider = node("input", {
      type: "range",
      ...range,
      id,
      "aria-describedby": `${id}-hint`,
      input: onInput,
    });
    const number = node("input", {
      type: "number",
      ...range,
      max: field.isProbability ? 1 : MAX_SECONDS,
      step: "any",
      "aria-label": `${field.name}, ${field.isProbability ? "0 to 1" : "in seconds"}`,
      change: onInput,
    });
    const unit = node("span", { class: "aw-subdued" }, field.isProbability ? "" : "s");
    const row = node(
      "div",
      { class: "aw-tuning-slider" },
      node("label", { for: id }, field.name),
      node("span", { class: "aw-tuning-value aw-field" }, number, unit),
      slider,
      node("span", { class: "aw-subdued aw-tuning-hint", id: `${id}-hint` }, field.hint),
    );
    return { node: row, slider, number };
  }

  #set(field, value) {
    if (!Number.isFinite(value)) return this.#fill();
    const bounded = Math.max(0, Math.min(value, field.isProbability ? 1 : MAX_SECONDS));
    const { label } = this;
    const target = label && !field.isGlobal ? (this.policy.labels[label] ??= {}) : this.policy;
    target[field.key] = bounded;
    const effective = label && !field.isGlobal ? this.policyOf(label) : this.policy;
    // The release threshold can't exceed the threshold: the other one follows.
    if (field.key === "threshold" && effective.release_threshold > bounded)
      target.release_threshold = bounded;
    if (field.key === "release_threshold" && effective.threshold < bounded)
      target.threshold = bounded;
    if (!label) this.#fixOverrides();
    this.#fill();
    this.onChange();
  }

  #fixOverrides() {
    for (const [label, overrides] of Object.entries(this.policy.labels)) {
      const effective = this.policyOf(label);
      if (effective.release_threshold <= effective.threshold) continue;
      if (overrides.release_threshold != null) overrides.release_threshold = effective.threshold;
      else overrides.threshold = effective.release_threshold;
    }
  }

  #removeOverrides() {
    delete this.policy.labels[this.label];
    this.#fill();
    this.onChange();
  }

  #fill() {
    const policy = this.label ? this.policyOf(this.label) : this.policy;
    for (const field of FIELDS) {
      const { slider, number, node: row } = this.rows[field.key];
      const value = Math.round(policy[field.key] * 1000) / 1000;
      if (!field.isProbability) slider.max = Math.max(field.max, value);
      slider.value = number.value = value;
      slider.setAttribute(
        "aria-valuetext",
        field.isProbability ? String(value) : `${value} seconds`,
      );
      slider.disabled = number.disabled = Boolean(this.label && field.isGlobal);
      row.classList.toggle(
        "aw-overridden",
        Boolean(this.label) && this.policy.labels[this.label]?.[field.key] != null,
      );
    }
    this.useDefault.hidden = !this.policy.labels[this.label];
  }

  #box(label) {
    const { include, exclude } = this.policy;
    const checked = (include === null || include.includes(label)) && !exclude.includes(label);
    const change = (event) => this.#setIncluded(label, event.target.checked);
    const box = node("input", { type: "checkbox", change });
    box.checked = checked;
    return node("label", {}, box, label);
  }

  #setIncluded(label, isIncluded) {
    const { policy } = this;
    policy.exclude = policy.exclude.filter((name) => name !== label);
    if (policy.include !== null) {
      policy.include = policy.include.filter((name) => name !== label);
      if (isIncluded) policy.include.push(label);
    } else if (!isIncluded) policy.exclude.push(label);
    this.onChange();
  }

  #filterLabels() {
    const query = this.search.value.toLowerCase();
    for (const box of this.boxes.children)
      box.hidden = !box.textContent.toLowerCase().includes(query);
  }
}
