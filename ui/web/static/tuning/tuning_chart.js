// The chart of a policy preview: the smoothed probability of a label with both thresholds, and the
// events of the log and of the preview below it.
const SVG_NS = "http://www.w3.org/2000/svg";
const [left, right, curveHeight, laneHeight, axisHeight, top] = [56, 8, 170, 26, 22, 8];
const CHANGES = {
  unchanged: "unchanged",
  moved: "moved",
  removed: "would be removed",
  added: "would be added",
  open: "still open",
};

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG_NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export class Chart {
  constructor() {
    this.node = svg("svg", {
      class: "aw-tuning-chart",
      role: "img",
      "aria-label": "No scores yet",
      width: "100%",
    });
    new ResizeObserver(() => this.#draw()).observe(this.node);
  }

  /** `preview` is the server's response; `policy` is that of its label. */
  show(preview, policy) {
    this.shown = { preview, policy };
    this.#draw();
  }

  #draw() {
    const width = this.node.clientWidth;
    if (!this.shown || !width) return;
    const { preview, policy } = this.shown;
    const { threshold: upper, release_threshold: lower } = policy;
    const height = top + curveHeight + 2 * laneHeight + 10 + axisHeight;
    this.node.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.node.setAttribute("height", height);
    this.node.setAttribute("aria-label", descriptionOf(preview));
    const span = Math.max(1, preview.until - preview.since);
    const x = (at) => left + ((at - preview.since) / span) * (width - left - right);
    const y = (probability) => top + curveHeight * (1 - probability);
    this.node.replaceChildren(
      ...grid(width, y),
      ...preview.curve.map((segment) => curve(segment, x, y)),
      threshold("threshold", upper, width, y, upper - lower < 0.08 ? -4 : 12),
      threshold("release", lower, width, y, 12),
      ...lane("log", preview.logged, 0, width, x),
      ...lane("preview", preview.preview, 1, width, x),
      ...axis(preview, width, height, x),
    );
  }
}

function descriptionOf(preview) {
  if (!preview.label) return "No events in this period";
  const { label, logged, preview: events } = preview;
  return `${label}: ${logged.length} events in the log, ${events.length} with these thresholds`;
}

function grid(width, y) {
  return [0, 0.5, 1].flatMap((value) => [
    svg("line", { class: "aw-grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    svg("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(value)),
  ]);
}

function curve({ times, low, high }, x, y) {
  const upper = times.map((time, index) => `${x(time).toFixed(1)},${y(high[index]).toFixed(1)}`);
  const lower = times
    .map((time, index) => `${x(time).toFixed(1)},${y(low[index]).toFixed(1)}`)
    .reverse();
  return svg("path", { class: "aw-curve", d: `M${[...upper, ...lower].join("L")}Z` });
}

function threshold(name, probability, width, y, shift) {
  return svg(
    "g",
    { class: "aw-threshold" },
    svg("line", { x1: left, x2: width - right, y1: y(probability), y2: y(probability) }),
    svg(
      "text",
      { x: width - right - 4, y: Math.max(top + 10, y(probability) + shift), "text-anchor": "end" },
      `${name} ${Math.round(probability * 1000) / 1000}`,
    ),
  );
}

function lane(name, spans, number, width, x) {
  const at = top + curveHeight + 10 + number * laneHeight;
  const bars = spans.map((span) => {
    const [from, to] = [
      Math.max(left, x(span.start)),
      Math.min(width - right, span.end === null ? width : x(span.end)),
    ];
    const bar = svg("rect", {
      class: `aw-span aw-${span.change}`,
      x: from,
      y: at + 3,
      width: Math.max(2, to - from),
      height: laneHeight - 6,
      rx: 2,
    });
    bar.append(svg("title", {}, `${timeText(span.start, true)}: ${CHANGES[span.change]}`));
    return bar;
  });
  return [
    svg("text", { x: left - 6, y: at + laneHeight / 2 + 4, "text-anchor": "end" }, name),
    ...bars,
  ];
}

function axis({ since, until }, width, height, x) {
  const count = Math.max(2, Math.floor((width - left) / 150));
  const isLong = until - since > 86400;
  return Array.from({ length: count + 1 }, (_, index) => {
    const at = since + ((until - since) * index) / count;
    const anchor = index === 0 ? "start" : index === count ? "end" : "middle";
    return svg(
      "text",
      { x: x(at), y: height - 6, "text-anchor": anchor },
      timeText(at, !isLong && until - since < 7200, isLong),
    );
  });
}

function timeText(seconds, withSeconds, withDay = false) {
  const date = new Date(seconds * 1000);
  const day = withDay ? { day: "numeric", month: "short" } : {};
  const time = {
    hour: "2-digit",
    minute: "2-digit",
    ...(withSeconds ? { second: "2-digit" } : {}),
  };
  return new Intl.DateTimeFormat(undefined, { ...day, ...time }).format(date);
}
