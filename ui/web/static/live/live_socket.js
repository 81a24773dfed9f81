// The video connection of a camera: requests one frame after the other over a WebSocket, with at
// most one in flight. Requests smaller frames over a slow connection, and reconnects.
import { Backoff, socketUrl } from "../api.js";

const WIDTHS = [320, 640, 960, 1280]; // that the server encodes, see stream/capture/latest_frame.py
const SLOW_MS = 250; // network time that counts as slow
const FAST_MS = 60; // low enough that the next width, with up to four times the pixels, isn't slow
const MAX_SLOW_FRAMES = 3; // in a row, before smaller ones are requested
const MIN_FAST_FRAMES = 20; // without a slow one, before larger ones are requested
const TIMEOUT_MS = 10_000; // the server responds at least once a second
const MIN_FAILURES = 3; // before the lost connection is shown

export class VideoSocket {
  /**
   * `targetWidth()` is the width of the frame on the screen in pixels, 0 while it is not visible;
   * `minInterval()` is the shortest time between two frames in ms; `onFrame(state, jpeg)` draws
   * them, jpeg is null if there is no new frame; `onConnection(lostSince)` receives the time of a
   * lost connection, null once it is back.
   */
  constructor(camera, { targetWidth, minInterval, onFrame, onConnection }) {
    this.url = socketUrl(`live/${encodeURIComponent(camera)}`);
    Object.assign(this, { targetWidth, minInterval, onFrame, onConnection });
    this.maxWidth = WIDTHS.length - 1; // index into WIDTHS that the connection can carry
    this.slowFrames = this.fastFrames = 0;
    this.backoff = new Backoff(500, 15_000);
    this.failures = 0; // in a row
    this.lostAt = null;
    this.retryTimer = null;
    this.requestedAt = null; // while a response is pending
    this.shownAt = 0;
    this.socket = null;
    this.update();
  }

  close() {
    this.closed = true;
    for (const timer of [this.retryTimer, this.nextTimer, this.timeout]) clearTimeout(timer);
    this.socket?.close();
  }

  /** Connect or request a frame, if one is needed now. */
  update() {
    if (this.closed || this.retryTimer || this.requestedAt !== null || !this.targetWidth()) return;
    if (!this.socket) this.connect();
    if (this.socket.readyState !== WebSocket.OPEN) return;
    clearTimeout(this.nextTimer);
    const delayMs = this.shownAt + this.minInterval() - performance.now();
    if (delayMs > 0) this.nextTimer = setTimeout(() => this.update(), delayMs);
    else this.requestFrame();
  }

  connect() {
    this.socket = new WebSocket(this.url);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.update();
    this.socket.onmessage = ({ data }) => this.receive(data);
    this.socket.onclose = () => this.disconnected();
  }

  requestFrame() {
    this.requestedAt = performance.now();
    this.socket.send(String(Math.min(Math.ceil(this.targetWidth()), WIDTHS[this.maxWidth])));
    this.timeout = setTimeout(() => this.abort(), TIMEOUT_MS);
  }

  async receive(data) {
    clearTimeout(this.timeout);
    this.connected();
    const [state, jpeg] = parse(data);
    const networkMs = performance.now() - this.requestedAt - state.server_ms;
    if (jpeg) this.adaptWidth(networkMs);
    try {
      await this.onFrame({ ...state, network_ms: Math.max(0, networkMs) }, jpeg);
    } catch (error) {
      console.warn(error); // a corrupted frame: the next one replaces it
    } finally {
      this.requestedAt = null;
    }
    this.shownAt = performance.now();
    this.update();
  }

  adaptWidth(networkMs) {
    if (networkMs > SLOW_MS) [this.slowFrames, this.fastFrames] = [this.slowFrames + 1, 0];
    else [this.slowFrames, this.fastFrames] = [0, this.fastFrames + (networkMs < FAST_MS ? 1 : 0)];
    const step =
      this.slowFrames >= MAX_SLOW_FRAMES ? -1 : this.fastFrames >= MIN_FAST_FRAMES ? 1 : 0;
    if (!step) return;
    this.slowFrames = this.fastFrames = 0;
    this.maxWidth = Math.max(0, Math.min(this.maxWidth + step, WIDTHS.length - 1));
  }

  /** A dead network does not close the socket. */
  abort() {
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
    this.disconnected();
  }

  disconnected() {
    clearTimeout(this.timeout);
    clearTimeout(this.nextTimer);
    this.requestedAt = this.socket = null;
    if (this.closed) return;
    this.lostAt ??= new Date();
    this.failures += 1;
    // A reconfigured camera reconnects on the first retry.
    if (this.failures >= MIN_FAILURES) this.onConnection(this.lostAt);
    const retry = () => {
      this.retryTimer = null;
      this.update();
    };
    this.retryTimer = setTimeout(retry, this.backoff.nextMs());
  }

  connected() {
    this.backoff.reset();
    this.failures = 0;
    this.lostAt = null;
    this.onConnection(null);
  }
}

function parse(data) {
  const length = new DataView(data).getUint32(0);
  const state = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const jpeg = data.byteLength > 4 + length ? new Uint8Array(data, 4 + length) : null;
  return [state, jpeg];
}
