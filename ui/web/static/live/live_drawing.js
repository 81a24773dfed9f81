// Draws annotations over a camera's frame: zones, labels as bars, events as badges. Pure: (context,
// width, height, state from the server, font size) -> strokes.

const RED = "rgba(185, 28, 28, 0.92)";
const DARK = "rgba(0, 0, 0, 0.68)";
const TOP_BAR = "#c2410c";
const BAR = "#475569";
const MIN_NAME_EM = 5; // a zone's name may be wider than a narrow zone

/** `brief` draws the top label only, for small frames. */
export function drawAnnotations(context, width, height, state, unit, brief = false) {
  context.font = `600 ${unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const current = isCurrent(state);
  const events = !current ? [] : brief ? state.events.slice(0, 2) : state.events;
  const badges = badgesOf(context, width, events, unit);
  for (const zone of state.zones) drawOutline(context, width, height, zone, state, unit);
  for (const name of namesOf(context, width, height, state, unit, badges)) drawText(context, name);
  if (!current) return;
  const labels = state.zones.length ? [] : state.labels;
  drawBars(context, width, height, brief ? labels.slice(0, 1) : labels, unit);
  for (const badge of badges) drawText(context, badge);
}

/** Whether labels and events are current. */
export const isCurrent = (state) => state.state === "live" && !state.waiting;

const hasEvent = (state, zone) =>
  isCurrent(state) && state.events.some((event) => event.zone === zone.name);

const scaled = (zone, width, height) => zone.points.map(([x, y]) => [x * width, y * height]);

function drawOutline(context, width, height, zone, state, unit) {
  context.beginPath();
  scaled(zone, width, height).forEach(([x, y], index) =>
    index ? context.lineTo(x, y) : context.moveTo(x, y),
  );
  context.closePath();
  stroke(context, "rgba(0, 0, 0, 0.6)", unit / 3); // visible on bright frames, too
  stroke(context, hasEvent(state, zone) ? "#f87171" : "#fff", unit / 7);
}

function stroke(context, color, thickness) {
  context.strokeStyle = color;
  context.lineWidth = thickness;
  context.stroke();
}

/** Boxes of the zones' names: each as wide as its zone, none over another one. */
function namesOf(context, width, height, state, unit, badges) {
  const taken = [...badges];
  for (const zone of state.zones) {
    const points = scaled(zone, width, height);
    const left = Math.min(...points.map(([x]) => x));
    const maxWidth = Math.max(Math.max(...points.map(([x]) => x)) - left, MIN_NAME_EM * unit);
    const text = zoneText(context, state, zone, Math.min(maxWidth, width) - unit);
    const boxWidth = context.measureText(text).width + unit;
    const name = { text, width: boxWidth, height: 1.6 * unit, pad: unit / 2, radius: 0 };
    name.left = Math.max(0, Math.min(left, width - boxWidth));
    name.top = freeBelow(name, Math.min(...points.map(([, y]) => y)), height, taken, unit / 6);
    name.background = hasEvent(state, zone) ? RED : DARK;
    taken.push(name);
  }
  return taken.slice(badges.length);
}

/** The first free position for a box from `top` down; `top` if there is none. */
function freeBelow(box, top, height, taken, gap) {
  const overlapping = taken.filter(
    (one) => one.left < box.left + box.width && box.left < one.left + one.width,
  );
  const isFree = (at) =>
    at + box.height <= height &&
    overlapping.every((one) => at + box.height <= one.top || one.top + one.height <= at);
  const below = overlapping.map((one) => one.top + one.height + gap).sort((a, b) => a - b);
  const candidates = [top, ...below.filter((at) => at > top), 0, ...below];
  return candidates.find(isFree) ?? top;
}

/** A zone's name and top label; the probability is dropped first, then the text is truncated. */
function zoneText(context, state, zone, maxWidth) {
  const top = isCurrent(state) && state.labels.find(([name]) => name === zone.name);
  if (!top) return truncated(context, zone.name, maxWidth);
  const [, label, probability] = top;
  const text = `${zone.name}: ${label}`;
  const full = `${text} ${Math.round(probability * 100)} %`;
  return context.measureText(full).width <= maxWidth ? full : truncated(context, text, maxWidth);
}

function drawBars(context, width, height, labels, unit) {
  const left = unit * 0.6;
  const barWidth = Math.min(width - 2 * left, unit * 20);
  labels.forEach(([, label, probability], row) => {
    const top = height - unit * (1.9 * (labels.length - row) + 0.3);
    const number = `${Math.round(probability * 100)} %`;
    context.fillStyle = DARK;
    context.fillRect(left, top, barWidth, unit * 1.6);
    context.fillStyle = row === 0 ? TOP_BAR : BAR;
    context.fillRect(left, top, barWidth * probability, unit * 1.6);
    context.fillStyle = "#fff";
    context.textAlign = "right";
    context.fillText(number, left + barWidth - unit * 0.4, top + unit * 0.85);
    context.textAlign = "left";
    const maxWidth = barWidth - context.measureText(number).width - unit * 1.4;
    context.fillText(truncated(context, label, maxWidth), left + unit * 0.4, top + unit * 0.85);
  });
}

/** Boxes of the events: in the upper right corner, one below the other. */
function badgesOf(context, width, events, unit) {
  return events.map((event, row) => {
    const name = event.zone ? `${event.zone}: ${event.label}` : event.label;
    const text = truncated(
      context,
      `● ${name}  ${event.duration_s.toFixed(1)} s`,
      width - unit * 2.4,
    );
    const boxWidth = context.measureText(text).width + unit * 1.2;
    const [left, top] = [width - unit * 0.6 - boxWidth, unit * (0.6 + 2.2 * row)];
    return {
      text,
      left,
      top,
      width: boxWidth,
      height: unit * 1.9,
      pad: unit * 0.6,
      radius: 0.4 * unit,
      background: RED,
    };
  });
}

function drawText(context, { text, left, top, width, height, pad, radius, background }) {
  context.fillStyle = background;
  context.beginPath();
  context.roundRect(left, top, width, height, radius);
  context.fill();
  context.fillStyle = "#fff";
  context.textAlign = "left";
  context.fillText(text, left + pad, top + 0.53 * height);
}

function truncated(context, text, maxWidth) {
  if (context.measureText(text).width <= maxWidth) return text;
  let shorter = text;
  while (shorter && context.measureText(`${shorter}…`).width > maxWidth)
    shorter = shorter.slice(0, -1);
  return `${shorter}…`;
}
