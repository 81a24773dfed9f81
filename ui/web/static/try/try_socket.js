// A visitor's line to the server: pictures go there one at a time, and each is answered with what
// the model sees. ui/web/api/try_it.py is the other end.
import { logIn, socketAddress } from "../api.js";

const GONE = "The connection to Actionwatch was lost. Try again in a moment.";
const ENDS = {
  1001: "Actionwatch is stopping.",
  1012: "Actionwatch is stopping.",
  4400: "Actionwatch could not read a picture that this browser sent. Try another browser.",
  4404: "Trying it is turned off here.",
  4408: "Your place was given back, because no picture came for a while.",
  4409: "Others at your address are trying it already. Try again when they have ended.",
  4413: "The pictures that this browser sends are too large.",
  4425: "The model is not ready yet. Try again in a moment.",
  4429: "This browser sends pictures faster than they can be looked at.",
};

function sentence(code, limits) {
  if (code === 4410)
    return "Your time is over, so that others get their turn. You may start again.";
  if (code === 4503)
    return limits.most === 1
      ? "The only place is taken. Try again in a moment."
      : `All ${limits.most} places are taken. Try again in a moment.`;
  return ENDS[code] ?? GONE;
}

/**
 * Opens the line. `told` is called with each answer, `ended` once with a sentence if the server or
 * the network ended it. `limits` are those of GET api/visitors.
 */
export class Line {
  #socket;
  #limits;
  #canvas = document.createElement("canvas");
  #context = this.#canvas.getContext("2d", { alpha: false });
  #free = false; // whether the next picture may go
  #quality = 0.8;

  constructor(limits, { told, ended }) {
    this.#limits = limits;
    this.#socket = new WebSocket(socketAddress("api/try"));
    this.#socket.onopen = () => (this.#free = true);
    this.#socket.onmessage = ({ data }) => {
      this.#free = true;
      told(JSON.parse(data));
    };
    this.#socket.onclose = ({ code }) => {
      this.#free = false;
      if (code === 4401) logIn();
      ended(sentence(code, limits));
    };
  }

  /** Send what a video shows now; left out while the picture before is not answered. */
  async send(video, seconds) {
    if (!this.#free || !video.videoWidth) return;
    this.#free = false;
    const jpeg = await this.#jpeg(video);
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (!jpeg || jpeg.size + 8 > this.#limits.bytes) {
      this.#quality = Math.max(0.1, this.#quality * 0.7);
      this.#free = true;
      return;
    }
    const time = new DataView(new ArrayBuffer(8));
    time.setFloat64(0, seconds);
    this.#socket.send(new Blob([time, jpeg]));
  }

  close() {
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#free = false;
    this.#socket.close();
  }

  #jpeg(video) {
    const { videoWidth: width, videoHeight: height } = video;
    const scale = Math.min(1, Math.sqrt(this.#limits.pixels / (width * height)));
    const across = Math.max(1, Math.floor(width * scale));
    const down = Math.max(1, Math.floor(height * scale));
    if (this.#canvas.width !== across) this.#canvas.width = across;
    if (this.#canvas.height !== down) this.#canvas.height = down;
    this.#context.drawImage(video, 0, 0, across, down);
    return new Promise((resolve) => this.#canvas.toBlob(resolve, "image/jpeg", this.#quality));
  }
}
