// Runs in the browser for each camera: pictures from a WebSocket to a canvas, predictions over
// them. `element` is the component's own node. A picture is acknowledged when it has been drawn.
const root = element.querySelector(".aw-camera");
const canvas = root.querySelector("canvas");
const labels = root.querySelector(".aw-labels");
const status = root.querySelector(".aw-status");
const context = canvas.getContext("2d");
const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const place = location.pathname.replace(/\/[^/]*$/, "");
const address = `${scheme}//${location.host}${place}/live/${root.dataset.camera}`;
let picture = null;

function number(value, unit) {
  return value === null ? "–" : `${value} ${unit}`;
}

function draw(state) {
  if (picture) {
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    context.drawImage(picture, 0, 0);
  } else {
    context.fillStyle = "#1f2937";
    context.fillRect(0, 0, canvas.width, canvas.height);
  }
  const unit = Math.max(12, canvas.width / 40);
  context.font = `600 ${unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  drawBars(state.labels, unit);
  drawBadges(state.events, unit);
  const notice = state.state === "live" ? state.waiting : state.state;
  if (notice) drawNotice(notice, unit);
}

function drawBars(bars, unit) {
  const width = canvas.width * 0.48;
  bars.forEach(([label, share], row) => {
    const top = canvas.height - unit * (1.9 * (bars.length - row) + 0.4);
    context.fillStyle = "rgba(0, 0, 0, 0.55)";
    context.fillRect(unit * 0.6, top, width, unit * 1.6);
    context.fillStyle = row === 0 ? "rgba(249, 115, 22, 0.85)" : "rgba(148, 163, 184, 0.6)";
    context.fillRect(unit * 0.6, top, width * share, unit * 1.6);
    context.fillStyle = "#fff";
    context.textAlign = "left";
    context.fillText(label, unit, top + unit * 0.85);
    context.textAlign = "right";
    context.fillText(`${Math.round(share * 100)} %`, unit * 0.2 + width, top + unit * 0.85);
  });
}

function drawBadges(events, unit) {
  context.textAlign = "left";
  events.forEach((event, row) => {
    const text = `● ${event.label}  ${event.seconds.toFixed(1)} s`;
    const top = unit * (0.6 + 2.2 * row);
    context.fillStyle = "rgba(185, 28, 28, 0.9)";
    context.beginPath();
    const width = context.measureText(text).width + unit * 1.2;
    context.roundRect(unit * 0.6, top, width, unit * 1.9, unit * 0.4);
    context.fill();
    context.fillStyle = "#fff";
    context.fillText(text, unit * 1.2, top + unit);
  });
}

function drawNotice(text, unit) {
  context.fillStyle = "rgba(0, 0, 0, 0.6)";
  context.fillRect(0, canvas.height / 2 - unit * 1.5, canvas.width, unit * 3);
  context.fillStyle = "#fff";
  context.textAlign = "center";
  context.fillText(text, canvas.width / 2, canvas.height / 2);
}

function tell(state) {
  labels.textContent = state.labels
    .map(([label, share]) => `${label} ${Math.round(share * 100)} %`)
    .join(", ");
  status.textContent = [
    state.reason ? `${state.state}: ${state.reason}` : state.state,
    ...(state.waiting ? [state.waiting] : []),
    `${state.frames_per_s.toFixed(1)} frames/s`,
    `${state.predictions_per_s.toFixed(1)} predictions/s`,
    `age ${number(state.age_ms, "ms")}`,
    `p50 ${number(state.age_p50_ms, "ms")}`,
    `p95 ${number(state.age_p95_ms, "ms")}`,
    ...Object.entries(state.drops).map(([name, count]) => `${count} ${name}`),
  ].join(" · ");
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) =>
    document.addEventListener("visibilitychange", resolve, { once: true }),
  );
}

function connect() {
  const socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onmessage = async (message) => {
    try {
      await show(message.data);
    } catch (error) {
      console.warn(error); // a damaged picture: begin anew rather than freeze
      socket.close();
      return;
    }
    await visible(); // a hidden page takes no pictures
    if (socket.readyState === WebSocket.OPEN) socket.send("shown");
  };
  socket.onclose = () => {
    status.textContent = "no connection to Actionwatch";
    if (root.isConnected) setTimeout(connect, 1000);
  };
}

async function show(data) {
  const length = new DataView(data).getUint32(0);
  const state = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  if (data.byteLength > 4 + length) {
    picture?.close();
    picture = null;
    picture = await createImageBitmap(new Blob([new Uint8Array(data, 4 + length)]));
  }
  draw(state);
  tell(state);
}

connect();
