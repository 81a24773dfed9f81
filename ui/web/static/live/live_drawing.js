// What is drawn over a camera's picture: zones, labels as bars, events as badges. Pure: (context,
// width, height, what the server said, size of the letters) -> strokes.

const RED = "rgba(185, 28, 28, 0.92)";
const DARK = "rgba(0, 0, 0, 0.68)";
const BEST = "#c2410c";
const OTHER = "#475569";
const LEAST = 5; // of a zone's name, in letters: it may be wider than a narrow zone

/** `brief` draws the best label only, for small pictures. */
export function drawOver(context, width, height, state, unit, brief = false) {
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

/** Whether labels and events are of now. */
export const isCurrent = (state) => state.state === "live" && !state.waiting;

const isBusy = (state, zone) =>
  isCurrent(state) && state.events.some((event) => event.zone === zone.name);

const placed = (zone, width, height) => zone.points.map(([x, y]) => [x * width, y * height]);

function drawOutline(context, width, height, zone, state, unit) {
  context.beginPath();
  placed(zone, width, height).forEach(([x, y], index) =>
    index ? context.lineTo(x, y) : context.moveTo(x, y),
  );
  context.closePath();
  stroke(context, "rgba(0, 0, 0, 0.6)", unit / 3); // to be seen on light pictures, too
  stroke(context, isBusy(state, zone) ? "#f87171" : "#fff", unit / 7);
}

function stroke(context, colour, thickness) {
  context.strokeStyle = colour;
  context.lineWidth = thickness;
  context.stroke();
}

/** Where the zones' names are written: each as wide as its zone, and none over another one. */
function namesOf(context, width, height, state, unit, badges) {
  const taken = [...badges];
  for (const zone of state.zones) {
    const points = placed(zone, width, height);
    const left = Math.min(...points.map(([x]) => x));
    const room = Math.max(Math.max(...points.map(([x]) => x)) - left, LEAST * unit);
    const text = zoneText(context, state, zone, Math.min(room, width) - unit);
    const wide = context.measureText(text).width + unit;
    const name = { text, wide, tall: 1.6 * unit, pad: unit / 2, round: 0 };
    name.left = Math.max(0, Math.min(left, width - wide));
    name.top = freeBelow(name, Math.min(...points.map(([, y]) => y)), height, taken, unit / 6);
    name.ground = isBusy(state, zone) ? RED : DARK;
    taken.push(name);
  }
  return taken.slice(badges.length);
}

/** The first place from `top` down where a box meets none that is taken; `top` if there is none. */
function freeBelow(box, top, height, taken, gap) {
  const beside = taken.filter(
    (one) => one.left < box.left + box.wide && box.left < one.left + one.wide,
  );
  const isFree = (at) =>
    at + box.tall <= height &&
    beside.every((one) => at + box.tall <= one.top || one.top + one.tall <= at);
  const under = beside.map((one) => one.top + one.tall + gap).sort((one, other) => one - other);
  const places = [top, ...under.filter((at) => at > top), 0, ...under];
  return places.find(isFree) ?? top;
}

/** What is seen in a zone; where that is too much the share goes first, then the rest of it. */
function zoneText(context, state, zone, room) {
  const found = isCurrent(state) && state.labels.find(([name]) => name === zone.name);
  if (!found) return fitted(context, zone.name, room);
  const [, label, share] = found;
  const text = `${zone.name}: ${label}`;
  const whole = `${text} ${Math.round(share * 100)} %`;
  return context.measureText(whole).width <= room ? whole : fitted(context, text, room);
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

/** Where the events are written: in the upper right corner, one below the other. */
function badgesOf(context, width, events, unit) {
  return events.map((event, row) => {
    const name = event.zone ? `${event.zone}: ${event.label}` : event.label;
    const text = fitted(context, `● ${name}  ${event.seconds.toFixed(1)} s`, width - unit * 2.4);
    const wide = context.measureText(text).width + unit * 1.2;
    const [left, top] = [width - unit * 0.6 - wide, unit * (0.6 + 2.2 * row)];
    return {
      text,
      left,
      top,
      wide,
      tall: unit * 1.9,
      pad: unit * 0.6,
      round: 0.4 * unit,
      ground: RED,
    };
  });
}

function drawText(context, { text, left, top, wide, tall, pad, round, ground }) {
  context.fillStyle = ground;
  context.beginPath();
  context.roundRect(left, top, wide, tall, round);
  context.fill();
  context.fillStyle = "#fff";
  context.textAlign = "left";
  context.fillText(text, left + pad, top + 0.53 * tall);
}

function fitted(context, text, room) {
  if (context.measureText(text).width <= room) return text;
  let shorter = text;
  while (shorter && context.measureText(`${shorter}…`).width > room) shorter = shorter.slice(0, -1);
  return `${shorter}…`;
}
