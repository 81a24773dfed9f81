// The connection of a browser session: sends one frame at a time; each response holds the latest
// prediction. The server side is ui/web/api/try_it.py.
import { logIn, socketUrl } from "../api.js";

const CONNECTION_LOST = "Connection to Actionwatch lost. Try again in a moment.";
const CLOSE_MESSAGES = {
  1001: "Actionwatch is shutting down.",
  1012: "Actionwatch is shutting down.",
  4400: "Actionwatch can't decode the frames of this browser. Try another browser.",
  4404: "The Try it tab is disabled on this server.",
  4408: "Session timed out: no frames were received.",
  4409: "Session limit of your address reached. Try again when another session has ended.",
  4410: "Session time limit reached. You can start a new session.",
  4413: "The frames of this browser are too large.",
  4425: "The model is not ready yet. Try again in a moment.",
  4429: "This browser sends frames too fast.",
};

function closeMessage(code, limits) {
  if (code === 4503)
    return `Session limit reached (${limits.max_sessions}). Try again in a moment.`;
  return CLOSE_MESSAGES[code] ?? CONNECTION_LOST;
}

/**
 * Connects a session. `onState` is called with each response, `onEnd` once with a message if the
 * server or the network ends the session. `limits` are those of GET api/try/limits.
 */
export class SessionSocket {
  #socket;
  #limits;
  #canvas = document.createElement("canvas");
  #context = this.#canvas.getContext("2d", { alpha: false });
  #ready = false; // to send the next frame
  #quality = 0.8;

  constructor(limits, { onState, onEnd }) {
    this.#limits = limits;
    this.#socket = new WebSocket(socketUrl("api/try"));
    this.#socket.onopen = () => (this.#ready = true);
    this.#socket.onmessage = ({ data }) => {
      this.#ready = true;
      onState(JSON.parse(data));
    };
    this.#socket.onclose = ({ code }) => {
      this.#ready = false;
      if (code === 4401) logIn();
      onEnd(closeMessage(code, limits));
    };
  }

  /** Send the current frame of a video; it is skipped while the last one has no response. */
  async send(video, seconds) {
    if (!this.#ready || !video.videoWidth) return;
    this.#ready = false;
    const jpeg = await this.#jpeg(video);
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (!jpeg || jpeg.size + 8 > this.#limits.max_message_bytes) {
      this.#quality = Math.max(0.1, this.#quality * 0.7);
      this.#ready = true;
      return;
    }
    const time = new DataView(new ArrayBuffer(8));
    time.setFloat64(0, seconds);
    this.#socket.send(new Blob([time, jpeg]));
  }

  close() {
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#ready = false;
    this.#socket.close();
  }

  #jpeg(video) {
    const { videoWidth, videoHeight } = video;
    const scale = Math.min(1, Math.sqrt(this.#limits.max_pixels / (videoWidth * videoHeight)));
    const width = Math.max(1, Math.floor(videoWidth * scale));
    const height = Math.max(1, Math.floor(videoHeight * scale));
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    this.#context.drawImage(video, 0, 0, width, height);
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/jpeg", this.#quality));
  }
}
