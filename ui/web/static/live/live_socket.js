// A camera's line: asks the server for one picture after the other over a WebSocket, so that one at
// most is under way. Asks for smaller ones where the way is slow, and comes back when it broke.
import { socketAddress } from "../api.js";

const WIDTHS = [320, 640, 960, 1280]; // what the server makes, see stream/capture/latest_frame.py
const SLOW_MS = 250; // on the way, longer than anybody likes to wait
const QUICK_MS = 60; // so that the next width, of four times the pixels, isn't slow
const SLOW = 3; // pictures in a row, before smaller ones are asked for
const QUICK = 20; // pictures without a slow one, before larger ones are
const SILENCE_MS = 10_000; // the server answers at least once a second
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const TRIES = 3; // to come back, before it is said

export class Line {
  /**
   * `wanted()` is the picture's width on the screen in pixels, 0 while nobody sees it; `pause()` is
   * the shortest time between two pictures in ms; `show(state, jpeg)` draws them, jpeg null where
   * there is no new one; `lost(since)` is told when the connection is gone, null when it is back.
   */
  constructor(camera, { wanted, pause, show, lost }) {
    this.address = socketAddress(`live/${encodeURIComponent(camera)}`);
    Object.assign(this, { wanted, pause, show, lost });
    this.most = WIDTHS.length - 1; // of WIDTHS, that the way carries
    this.slow = this.quick = 0; // pictures
    this.retryMs = FIRST_PAUSE_MS;
    this.tries = 0; // that failed, one after the other
    this.brokeAt = null;
    this.retry = null;
    this.askedAt = null; // while an answer is due
    this.shownAt = 0;
    this.socket = null;
    this.wake();
  }

  close() {
    this.closed = true;
    for (const timer of [this.retry, this.next, this.silence]) clearTimeout(timer);
    this.socket?.close();
  }

  /** Something changed in what is wanted. */
  wake() {
    if (this.closed || this.retry || this.askedAt !== null || !this.wanted()) return;
    if (!this.socket) this.connect();
    if (this.socket.readyState !== WebSocket.OPEN) return;
    clearTimeout(this.next);
    const early = this.shownAt + this.pause() - performance.now();
    if (early > 0) this.next = setTimeout(() => this.wake(), early);
    else this.ask();
  }

  connect() {
    this.socket = new WebSocket(this.address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.wake();
    this.socket.onmessage = ({ data }) => this.take(data);
    this.socket.onclose = () => this.broke();
  }

  ask() {
    this.askedAt = performance.now();
    this.socket.send(String(Math.min(Math.ceil(this.wanted()), WIDTHS[this.most])));
    this.silence = setTimeout(() => this.giveUp(), SILENCE_MS);
  }

  async take(data) {
    clearTimeout(this.silence);
    this.works();
    const [state, jpeg] = parted(data);
    const wayMs = performance.now() - this.askedAt - state.waited_ms;
    if (jpeg) this.adapt(wayMs);
    try {
      await this.show({ ...state, way_ms: Math.max(0, wayMs) }, jpeg);
    } catch (error) {
      console.warn(error); // a damaged picture: the next one will do
    } finally {
      this.askedAt = null;
    }
    this.shownAt = performance.now();
    this.wake();
  }

  adapt(wayMs) {
    if (wayMs > SLOW_MS) [this.slow, this.quick] = [this.slow + 1, 0];
    else [this.slow, this.quick] = [0, this.quick + (wayMs < QUICK_MS ? 1 : 0)];
    const step = this.slow >= SLOW ? -1 : this.quick >= QUICK ? 1 : 0;
    if (!step) return;
    this.slow = this.quick = 0;
    this.most = Math.max(0, Math.min(this.most + step, WIDTHS.length - 1));
  }

  /** A dead network does not close anything. */
  giveUp() {
    this.socket.onclose = this.socket.onmessage = null;
    this.socket.close();
    this.broke();
  }

  broke() {
    clearTimeout(this.silence);
    clearTimeout(this.next);
    this.askedAt = this.socket = null;
    if (this.closed) return;
    this.brokeAt ??= new Date();
    this.tries += 1;
    if (this.tries >= TRIES) this.lost(this.brokeAt); // a camera that was changed is back at once
    const retry = () => {
      this.retry = null;
      this.wake();
    };
    this.retry = setTimeout(retry, this.retryMs * (0.75 + Math.random() / 2));
    this.retryMs = Math.min(2 * this.retryMs, LONGEST_PAUSE_MS);
  }

  works() {
    this.retryMs = FIRST_PAUSE_MS;
    this.tries = 0;
    this.brokeAt = null;
    this.lost(null);
  }
}

function parted(data) {
  const length = new DataView(data).getUint32(0);
  const state = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  const jpeg = data.byteLength > 4 + length ? new Uint8Array(data, 4 + length) : null;
  return [state, jpeg];
}
