// <aw-health>: how the watch is doing; what is bad first, and in words.
import { get, lasting, node, ownStyle, when, whileSeen } from "../api.js";

const stages = {
  age: "From picture to answer",
  capture: "Taking a picture",
  inference: "The model itself",
  line: "To the worker and back",
  judge: "Judging and logging",
};
const queues = {
  clips: "at the model",
  predictions: "answers to be judged",
  events: "events to be logged",
};
const packages = {
  python: "Python",
  actionwatch: "Actionwatch",
  torch: "PyTorch",
  openvino: "OpenVINO",
  "opencv-python": "OpenCV",
  numpy: "NumPy",
  gradio: "Gradio",
};
const states = {
  connecting: "is being opened",
  live: "live",
  stalled: "stands still",
  offline: "offline",
  ended: "has ended",
  failed: "has failed",
};

class Health extends HTMLElement {
  connectedCallback() {
    ownStyle(this);
    this.verdict = node("div", { role: "status" });
    this.problem = node("p", { class: "aw-problem", role: "alert" });
    this.parts = node("div", { class: "aw-health-parts" });
    this.replaceChildren(this.problem, this.verdict, this.parts);
    whileSeen(this, 3000, () => this.#load())();
  }

  async #load() {
    try {
      const health = await get("api/health");
      this.problem.textContent = "";
      this.#verdict(health.findings);
      this.#fill(health);
    } catch (error) {
      this.problem.textContent = error.message;
    }
  }

  #verdict(findings) {
    const said = JSON.stringify(findings);
    if (said === this.said) return; // told once, not every few seconds
    this.said = said;
    const grave = findings.some((one) => one.grave);
    const title = grave ? "Something is wrong" : "All is well";
    const item = (one) =>
      node(
        "li",
        { class: one.grave ? "aw-grave" : "" },
        one.text,
        ...(one.since ? [" Since ", when(one.since), "."] : []),
      );
    this.verdict.replaceChildren(
      node(
        "div",
        { class: `aw-verdict ${grave ? "aw-is-bad" : "aw-is-well"}` },
        node("h2", {}, `${grave ? "✕" : "✓"} ${title}`),
        ...(findings.length ? [node("ul", {}, ...findings.map(item))] : []),
      ),
    );
  }

  #fill(health) {
    this.parts.replaceChildren(
      part("Cameras", cameras(health.cameras), true),
      part("Model and speed", speed(health)),
      part("Disk", disk(health.disk)),
      part(
        "Event log",
        list([
          ["Events since the start", health.events],
          ["Entries that wait to be written", health.waiting],
        ]),
      ),
      part("Latest warnings and errors", troubles(health.troubles), true),
      part("What went wrong or was left out", drops(health), true),
      part(
        "Versions",
        list([
          ...Object.entries(health.versions).map(([name, version]) => [
            packages[name] ?? name,
            version,
          ]),
          ["Running for", lasting(health.up_s)],
        ]),
      ),
    );
  }
}

function part(title, content, wide = false) {
  return node("section", { class: wide ? "aw-wide" : "" }, node("h3", {}, title), content);
}

function list(entries) {
  return node(
    "dl",
    {},
    ...entries.flatMap(([name, value]) => [
      node("dt", {}, name),
      node("dd", {}, value instanceof Node ? value : String(value)),
    ]),
  );
}

function table(name, heads, rows) {
  const top = node(
    "thead",
    {},
    node("tr", {}, ...heads.map((head) => node("th", { scope: "col" }, head))),
  );
  const cells = (row) =>
    row.map((cell, place) =>
      node(
        place ? "td" : "th",
        place ? { "data-head": heads[place] } : { scope: "row" },
        cell instanceof Node ? cell : String(cell),
      ),
    );
  return node(
    "div",
    { class: "aw-scroll", tabindex: 0, role: "region", "aria-label": name },
    node(
      "table",
      { class: "aw-table" },
      top,
      node("tbody", {}, ...rows.map((row) => node("tr", {}, ...cells(row)))),
    ),
  );
}

function cameras(all) {
  const state = (camera) =>
    node(
      "span",
      { class: ["live", "ended"].includes(camera.state) ? "" : "aw-bad-word" },
      `${states[camera.state] ?? camera.state}${camera.reason ? `: ${camera.reason}` : ""}`,
    );
  const looks = (camera) =>
    camera.wanted_per_s
      ? `${camera.predictions_per_s} of ${camera.wanted_per_s}`
      : camera.predictions_per_s;
  const found = table(
    "Cameras",
    ["Camera", "State", "Since", "Pictures a second", "Looks a second", "Age of the answer"],
    all.map((camera) => [
      camera.name,
      state(camera),
      when(camera.since),
      camera.frames_per_s,
      looks(camera),
      camera.age_s === null ? "–" : lasting(camera.age_s),
    ]),
  );
  found.classList.add("aw-health-cameras");
  return found;
}

function speed(health) {
  const milliseconds = (seconds) => `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  const waiting = Object.entries(health.queues).map(([name, count]) => [
    `Waiting: ${queues[name] ?? name.replace(/^alert /, "alerts for ")}`,
    count,
  ]);
  return node(
    "div",
    {},
    list([["Model", health.model ?? "not ready yet"], ["Workers", health.workers], ...waiting]),
    table(
      "Stages",
      ["Stage", "Usually", "1 in 20 takes over"],
      health.stages.map((one) => [
        stages[one.name] ?? one.name,
        milliseconds(one.p50_s),
        milliseconds(one.p95_s),
      ]),
    ),
  );
}

function disk(found) {
  if (!found) return node("p", {}, "The disk can't be reached.");
  const used = Object.entries(found.used).map(([name, bytes]) => [`Used by ${name}`, size(bytes)]);
  return list([
    ["Free", `${size(found.free)} of ${size(found.size)}`],
    ["To stay free", size(found.keep_free)],
    ...used,
  ]);
}

function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1000)} kB`;
}

function troubles(all) {
  if (!all.length) return node("p", { class: "aw-quiet" }, "None since the start.");
  return node(
    "ul",
    { class: "aw-troubles" },
    ...all.map((one) =>
      node(
        "li",
        {},
        when(one.at),
        " ",
        node("span", { class: one.level === "error" ? "aw-bad-word" : "" }, one.text),
      ),
    ),
  );
}

function drops(health) {
  const rows = [
    ...health.cameras.flatMap((camera) =>
      camera.counted.map((one) => [one.words, camera.name, one.count]),
    ),
    ...health.counted.map((one) => [one.words, "–", one.count]),
  ];
  return rows.length
    ? table("What went wrong or was left out", ["What", "Camera", "How often"], rows)
    : node("p", { class: "aw-quiet" }, "Nothing since the start.");
}

customElements.define("aw-health", Health);
