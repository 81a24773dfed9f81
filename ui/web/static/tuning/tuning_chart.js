// The chart of a trial: the smoothed curve of a label with both thresholds, and below it the events
// that are in the log and those that there would be.
const space = "http://www.w3.org/2000/svg";
const [left, right, curveHeight, laneHeight, axisHeight, top] = [44, 8, 170, 26, 22, 8];
const names = {
  same: "as it is",
  moved: "at another time",
  lost: "would be gone",
  added: "would be new",
  open: "goes on",
};

function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(space, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export class Chart {
  constructor() {
    this.node = svg("svg", {
      class: "aw-tuning-chart",
      role: "img",
      "aria-label": "no scores yet",
      width: "100%",
    });
    new ResizeObserver(() => this.#draw()).observe(this.node);
  }

  /** `tried` is what the server answered; `policy` holds for its label. */
  show(tried, policy) {
    this.shown = { tried, policy };
    this.#draw();
  }

  #draw() {
    const width = this.node.clientWidth;
    if (!this.shown || !width) return;
    const { tried, policy } = this.shown;
    const height = top + curveHeight + 2 * laneHeight + 10 + axisHeight;
    this.node.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.node.setAttribute("height", height);
    this.node.setAttribute("aria-label", spoken(tried));
    const span = Math.max(1, tried.until - tried.since);
    const x = (at) => left + ((at - tried.since) / span) * (width - left - right);
    const y = (share) => top + curveHeight * (1 - share);
    this.node.replaceChildren(
      ...grid(width, y),
      ...tried.curve.map((piece) => curve(piece, x, y)),
      threshold("begins", policy.enter, width, y, policy.enter - policy.leave < 0.08 ? -4 : 12),
      threshold("ends", policy.leave, width, y, 12),
      ...lane("log", tried.logged, 0, width, x),
      ...lane("tried", tried.would, 1, width, x),
      ...axis(tried, width, height, x),
    );
  }
}

function spoken(tried) {
  if (!tried.label) return "No events in this time";
  const { label, logged, would } = tried;
  return `${label}: ${logged.length} events in the log, ${would.length} with these thresholds`;
}

function grid(width, y) {
  return [0, 0.5, 1].flatMap((share) => [
    svg("line", { class: "aw-grid", x1: left, x2: width - right, y1: y(share), y2: y(share) }),
    svg("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, String(share)),
  ]);
}

function curve({ at, low, high }, x, y) {
  const upper = at.map((moment, place) => `${x(moment).toFixed(1)},${y(high[place]).toFixed(1)}`);
  const lower = at
    .map((moment, place) => `${x(moment).toFixed(1)},${y(low[place]).toFixed(1)}`)
    .reverse();
  return svg("path", { class: "aw-curve", d: `M${[...upper, ...lower].join("L")}Z` });
}

function threshold(name, share, width, y, shift) {
  return svg(
    "g",
    { class: "aw-threshold" },
    svg("line", { x1: left, x2: width - right, y1: y(share), y2: y(share) }),
    svg(
      "text",
      { x: width - right - 4, y: Math.max(top + 10, y(share) + shift), "text-anchor": "end" },
      `${name} ${Math.round(share * 1000) / 1000}`,
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
    bar.append(svg("title", {}, `${clock(span.start, true)}: ${names[span.change]}`));
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
  return Array.from({ length: count + 1 }, (_, place) => {
    const at = since + ((until - since) * place) / count;
    const anchor = place === 0 ? "start" : place === count ? "end" : "middle";
    return svg(
      "text",
      { x: x(at), y: height - 6, "text-anchor": anchor },
      clock(at, !isLong && until - since < 7200, isLong),
    );
  });
}

function clock(seconds, withSeconds, withDay = false) {
  const date = new Date(seconds * 1000);
  const day = withDay ? { day: "numeric", month: "short" } : {};
  const time = {
    hour: "2-digit",
    minute: "2-digit",
    ...(withSeconds ? { second: "2-digit" } : {}),
  };
  return new Intl.DateTimeFormat(undefined, { ...day, ...time }).format(date);
}
