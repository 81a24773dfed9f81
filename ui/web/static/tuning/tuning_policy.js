// The sliders and checkboxes of a policy: when predictions become an event.
import { button, node } from "../api.js";

const knobs = [
  { key: "enter", name: "Begins at", hint: "an event begins at this probability", share: true },
  { key: "leave", name: "Ends below", hint: "and ends below this one", share: true },
  { key: "minimum", name: "Shortest", hint: "shorter events are dropped", most: 10, step: 0.1 },
  {
    key: "merge_gap",
    name: "Merged within",
    hint: "what goes on again within this time is the same event",
    most: 20,
    step: 0.1,
  },
  {
    key: "cool_down",
    name: "Pause after",
    hint: "for so long after an event there is no other one with its label",
    most: 300,
    step: 1,
  },
  {
    key: "smoothing",
    name: "Smoothing",
    hint: "over how long probabilities are averaged",
    most: 5,
    step: 0.05,
    forAll: true,
  },
];

export class PolicyForm {
  /** `changed` is called with each change of a person. */
  constructor(changed) {
    this.changed = changed;
    this.scope = node("select", { change: () => this.#fill() });
    this.common = button("As for all labels", () => this.#dropOwn());
    this.rows = Object.fromEntries(knobs.map((knob) => [knob.key, this.#row(knob)]));
    this.search = node("input", {
      type: "search",
      placeholder: "find a label",
      "aria-label": "Find a label",
      input: () => this.#find(),
    });
    this.boxes = node("div", { class: "aw-tuning-boxes" });
    this.node = node(
      "div",
      { class: "aw-tuning-policy" },
      node(
        "div",
        { class: "aw-row" },
        node("label", { class: "aw-field" }, "Thresholds of", this.scope),
        this.common,
      ),
      ...knobs.map((knob) => this.rows[knob.key].node),
      node(
        "fieldset",
        { class: "aw-tuning-labels" },
        node("legend", {}, "Labels that make events"),
        this.search,
        this.boxes,
      ),
    );
  }

  /** Begin with a policy, over the labels of a model. */
  set(policy, labels, background) {
    this.policy = structuredClone(policy);
    this.labels = labels.filter((label) => !background.includes(label));
    const own = this.scope.value;
    const options = this.labels.map((label) => node("option", { value: `=${label}` }, label));
    this.scope.replaceChildren(node("option", { value: "" }, "all labels"), ...options);
    if (this.labels.includes(own.slice(1))) this.scope.value = own;
    this.search.hidden = this.labels.length < 20;
    this.boxes.replaceChildren(...this.labels.map((label) => this.#box(label)));
    this.#fill();
  }

  /** The thresholds that hold for a label. */
  of(label) {
    const own = Object.entries(this.policy.labels[label] ?? {}).filter(
      ([, value]) => value != null,
    );
    return { ...this.policy, ...Object.fromEntries(own) };
  }

  get label() {
    return this.scope.value.slice(1);
  }

  #row(knob) {
    const id = `aw-tuning-${knob.key}`;
    const range = { min: 0, max: knob.share ? 1 : knob.most, step: knob.share ? 0.01 : knob.step };
    const turned = (event) => this.#turn(knob, event.target.valueAsNumber);
    const slider = node("input", {
      type: "range",
      ...range,
      id,
      "aria-describedby": `${id}-hint`,
      input: turned,
    });
    const exact = node("input", {
      type: "number",
      ...range,
      max: knob.share ? 1 : 86400,
      step: "any",
      "aria-label": `${knob.name}, ${knob.share ? "as a number from 0 to 1" : "in seconds"}`,
      change: turned,
    });
    const unit = node("span", { class: "aw-quiet" }, knob.share ? "" : "s");
    const row = node(
      "div",
      { class: "aw-tuning-knob" },
      node("label", { for: id }, knob.name),
      node("span", { class: "aw-tuning-exact aw-field" }, exact, unit),
      slider,
      node("span", { class: "aw-quiet aw-tuning-hint", id: `${id}-hint` }, knob.hint),
    );
    return { node: row, slider, exact };
  }

  #turn(knob, value) {
    if (!Number.isFinite(value)) return this.#fill();
    const bounded = Math.max(0, Math.min(value, knob.share ? 1 : 86400));
    const { label } = this;
    const into = label && !knob.forAll ? (this.policy.labels[label] ??= {}) : this.policy;
    into[knob.key] = bounded;
    const now = label && !knob.forAll ? this.of(label) : this.policy;
    // The lower threshold can't be above the upper one: it is pushed along.
    if (knob.key === "enter" && now.leave > bounded) into.leave = bounded;
    if (knob.key === "leave" && now.enter < bounded) into.enter = bounded;
    if (!label) this.#pushOwn();
    this.#fill();
    this.changed();
  }

  #pushOwn() {
    for (const [label, own] of Object.entries(this.policy.labels)) {
      const { enter, leave } = this.of(label);
      if (leave <= enter) continue;
      if (own.leave != null) own.leave = enter;
      else own.enter = leave;
    }
  }

  #dropOwn() {
    delete this.policy.labels[this.label];
    this.#fill();
    this.changed();
  }

  #fill() {
    const now = this.label ? this.of(this.label) : this.policy;
    for (const knob of knobs) {
      const { slider, exact, node: row } = this.rows[knob.key];
      const value = Math.round(now[knob.key] * 1000) / 1000;
      if (!knob.share) slider.max = Math.max(knob.most, value);
      slider.value = exact.value = value;
      slider.setAttribute("aria-valuetext", knob.share ? String(value) : `${value} seconds`);
      slider.disabled = exact.disabled = Boolean(this.label && knob.forAll);
      row.classList.toggle(
        "aw-own",
        Boolean(this.label) && this.policy.labels[this.label]?.[knob.key] != null,
      );
    }
    this.common.hidden = !this.policy.labels[this.label];
  }

  #box(label) {
    const { watch, ignore } = this.policy;
    const checked = (watch === null || watch.includes(label)) && !ignore.includes(label);
    const change = (event) => this.#watch(label, event.target.checked);
    const box = node("input", { type: "checkbox", change });
    box.checked = checked;
    return node("label", {}, box, label);
  }

  #watch(label, wanted) {
    const { policy } = this;
    policy.ignore = policy.ignore.filter((one) => one !== label);
    if (policy.watch !== null) {
      policy.watch = policy.watch.filter((one) => one !== label);
      if (wanted) policy.watch.push(label);
    } else if (!wanted) policy.ignore.push(label);
    this.changed();
  }

  #find() {
    const wanted = this.search.value.toLowerCase();
    for (const box of this.boxes.children)
      box.hidden = !box.textContent.toLowerCase().includes(wanted);
  }
}
