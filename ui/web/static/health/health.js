// <aw-health>: the status of the run, problems first.
import { get, formatDuration, localTime, node, ownStyle, pollWhileVisible } from "../api.js";

const POLL_INTERVAL_MS = 3000;
const STAGES = {
  age: "End-to-end latency",
  capture: "Capture",
  inference: "Inference",
  transport: "Worker round trip",
  event_detection: "Event detection and logging",
};
const QUEUES = {
  clips: "inference",
  predictions: "event detection",
  events: "event log",
};
const PACKAGES = {
  python: "Python",
  actionwatch: "Actionwatch",
  torch: "PyTorch",
  openvino: "OpenVINO",
  "opencv-python": "OpenCV",
  numpy: "NumPy",
  gradio: "Gradio",
};

class Health extends HTMLElement {
  connectedCallback() {
    ownStyle(this);
    this.summary = node("div", { role: "status" });
    this.error = node("p", { class: "aw-error", role: "alert" });
    this.sections = node("div", { class: "aw-health-sections" });
    this.replaceChildren(this.error, this.summary, this.sections);
    pollWhileVisible(this, POLL_INTERVAL_MS, () => this.#load())();
  }

  async #load() {
    try {
      const health = await get("api/health");
      this.error.textContent = "";
      this.#showSummary(health.issues);
      this.#showSections(health);
    } catch (error) {
      this.error.textContent = error.message;
    }
  }

  #showSummary(issues) {
    const shown = JSON.stringify(issues);
    if (shown === this.shown) return; // screen readers announce every change
    this.shown = shown;
    const hasErrors = issues.some((issue) => issue.severity === "error");
    const title = hasErrors ? "Problems found" : "Healthy";
    const item = (issue) =>
      node(
        "li",
        { class: `aw-${issue.severity}-item` },
        issue.text,
        ...(issue.since ? [" Since ", localTime(issue.since), "."] : []),
      );
    this.summary.replaceChildren(
      node(
        "div",
        { class: `aw-summary ${hasErrors ? "aw-unhealthy" : "aw-healthy"}` },
        node("h2", {}, `${hasErrors ? "✕" : "✓"} ${title}`),
        ...(issues.length ? [node("ul", {}, ...issues.map(item))] : []),
      ),
    );
  }

  #showSections(health) {
    this.sections.replaceChildren(
      section("Cameras", cameras(health.cameras), true),
      section("Model and latency", latency(health)),
      section("Disk", disk(health.disk)),
      section(
        "Event log",
        list([
          ["Events since start", health.events],
          ["Pending writes", health.pending_writes],
        ]),
      ),
      section("Recent warnings and errors", recentLogs(health.recent_logs), true),
      section("Errors and drops", counters(health), true),
      section(
        "Versions",
        list([
          ...Object.entries(health.versions).map(([name, version]) => [
            PACKAGES[name] ?? name,
            version,
          ]),
          ["Uptime", formatDuration(health.uptime_s)],
        ]),
      ),
    );
  }
}

function section(title, content, wide = false) {
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
  const head = node(
    "thead",
    {},
    node("tr", {}, ...heads.map((text) => node("th", { scope: "col" }, text))),
  );
  const cells = (row) =>
    row.map((cell, column) =>
      node(
        column ? "td" : "th",
        column ? { "data-head": heads[column] } : { scope: "row" },
        cell instanceof Node ? cell : String(cell),
      ),
    );
  return node(
    "div",
    { class: "aw-scroll", tabindex: 0, role: "region", "aria-label": name },
    node(
      "table",
      { class: "aw-table" },
      head,
      node("tbody", {}, ...rows.map((row) => node("tr", {}, ...cells(row)))),
    ),
  );
}

function cameras(all) {
  const state = (camera) =>
    node(
      "span",
      { class: ["live", "ended"].includes(camera.state) ? "" : "aw-error-text" },
      `${camera.state}${camera.reason ? `: ${camera.reason}` : ""}`,
    );
  const inferences = (camera) =>
    camera.target_predictions_per_s
      ? `${camera.predictions_per_s} of ${camera.target_predictions_per_s}`
      : camera.predictions_per_s;
  const container = table(
    "Cameras",
    ["Camera", "State", "Since", "FPS", "Inferences/s", "Latency"],
    all.map((camera) => [
      camera.name,
      state(camera),
      localTime(camera.since),
      camera.frames_per_s,
      inferences(camera),
      camera.age_s === null ? "–" : formatDuration(camera.age_s),
    ]),
  );
  container.classList.add("aw-health-cameras");
  return container;
}

function latency(health) {
  const milliseconds = (seconds) => `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`;
  const queues = Object.entries(health.queues).map(([name, count]) => [
    `Queue: ${QUEUES[name] ?? name.replace(/^alert /, "alerts for ")}`,
    count,
  ]);
  return node(
    "div",
    {},
    list([["Model", health.model ?? "not ready yet"], ["Workers", health.workers], ...queues]),
    table(
      "Latency by stage",
      ["Stage", "p50", "p95"],
      health.stages.map((stage) => [
        STAGES[stage.name] ?? stage.name,
        milliseconds(stage.p50_s),
        milliseconds(stage.p95_s),
      ]),
    ),
  );
}

function disk(usage) {
  if (!usage) return node("p", {}, "The disk can't be read.");
  const used = Object.entries(usage.used).map(([name, bytes]) => [`Used by ${name}`, size(bytes)]);
  return list([
    ["Free", `${size(usage.free)} of ${size(usage.total)}`],
    ["Keep free", size(usage.keep_free)],
    ...used,
  ]);
}

function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1000)} kB`;
}

function recentLogs(entries) {
  if (!entries.length) return node("p", { class: "aw-subdued" }, "None since start.");
  return node(
    "ul",
    { class: "aw-logs" },
    ...entries.map((entry) =>
      node(
        "li",
        {},
        localTime(entry.at),
        " ",
        node("span", { class: entry.level === "error" ? "aw-error-text" : "" }, entry.text),
      ),
    ),
  );
}

function counters(health) {
  const rows = [
    ...health.cameras.flatMap((camera) =>
      camera.counters.map((counter) => [counter.description, camera.name, counter.count]),
    ),
    ...health.counters.map((counter) => [counter.description, "–", counter.count]),
  ];
  return rows.length
    ? table("Errors and drops", ["Counter", "Camera", "Count"], rows)
    : node("p", { class: "aw-subdued" }, "None since start.");
}

customElements.define("aw-health", Health);
