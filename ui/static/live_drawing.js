// What is drawn over a camera's picture: zones, labels as bars, events as badges. Pure: (context,
// width, height, what the server said, size of the letters) -> strokes.

const RED = "rgba(185, 28, 28, 0.92)";
const DARK = "rgba(0, 0, 0, 0.68)";
const BEST = "#c2410c";
const OTHER = "#475569";

/** `brief` draws the best label only, for small pictures. */
export function drawOver(context, width, height, state, unit, brief = false) {
  context.font = `600 ${unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const current = isCurrent(state);
  for (const zone of state.zones) drawZone(context, width, height, zone, state, unit);
  if (!current) return;
  const labels = state.zones.length ? [] : state.labels;
  drawBars(context, width, height, brief ? labels.slice(0, 1) : labels, unit);
  drawBadges(context, width, brief ? state.events.slice(0, 2) : state.events, unit);
}

/** Whether labels and events are of now. */
export const isCurrent = (state) => state.state === "live" && !state.waiting;

function drawZone(context, width, height, zone, state, unit) {
  const busy = isCurrent(state) && state.events.some((event) => event.zone === zone.name);
  const points = zone.points.map(([x, y]) => [x * width, y * height]);
  context.beginPath();
  points.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  stroke(context, "rgba(0, 0, 0, 0.6)", unit / 3); // to be seen on light pictures, too
  stroke(context, busy ? "#f87171" : "#fff", unit / 7);
  const left = Math.min(...points.map(([x]) => x));
  const top = Math.min(...points.map(([, y]) => y));
  const fits = fitted(context, zoneText(state, zone), width - unit);
  const wide = context.measureText(fits).width + unit;
  const edge = Math.min(left, width - wide);
  context.fillStyle = busy ? RED : DARK;
  context.fillRect(edge, top, wide, unit * 1.6);
  context.fillStyle = "#fff";
  context.textAlign = "left";
  context.fillText(fits, edge + unit / 2, top + unit * 0.85);
}

function stroke(context, colour, thickness) {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  context.stroke();
}

function zoneText(state, zone) {
  const found = isCurrent(state) && state.labels.find(([name]) => name === zone.name);
  return found ? `${zone.name}: ${found[1]} ${Math.round(found[2] * 100)} %` : zone.name;
}

function drawBars(context, width, height, labels, unit) {
  const left = unit * 0.6;
  const wide = Math.min(width - 2 * left, unit * 20);
  labels.forEach(([, label, share], row) => {
    const top = height - unit * (1.9 * (labels.length - row) + 0.3);
    const number = `${Math.round(share * 100)} %`;
    context.fillStyle = DARK;
    context.fillRect(left, top, wide, unit * 1.6);
    context.fillStyle = row === 0 ? BEST : OTHER;
    context.fillRect(left, top, wide * share, unit * 1.6);
    context.fillStyle = "#fff";
    context.textAlign = "right";
    context.fillText(number, left + wide - unit * 0.4, top + unit * 0.85);
    context.textAlign = "left";
    const room = wide - context.measureText(number).width - unit * 1.4;
    context.fillText(fitted(context, label, room), left + unit * 0.4, top + unit * 0.85);
  });
}

function drawBadges(context, width, events, unit) {
  context.textAlign = "left";
  events.forEach((event, row) => {
    const name = event.zone ? `${event.zone}: ${event.label}` : event.label;
    const text = fitted(context, `● ${name}  ${event.seconds.toFixed(1)} s`, width - unit * 2.4);
    const top = unit * (0.6 + 2.2 * row);
    const wide = context.measureText(text).width + unit * 1.2;
    context.fillStyle = RED;
    context.beginPath();
    context.roundRect(width - unit * 0.6 - wide, top, wide, unit * 1.9, unit * 0.4);
    context.fill();
    context.fillStyle = "#fff";
    context.fillText(text, width - wide, top + unit);
  });
}

function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let shorter = text;
  while (shorter && context.measureText(`${shorter}…`).width > room) shorter = shorter.slice(0, -1);
  return `${shorter}…`;
}
