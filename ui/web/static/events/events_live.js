// Live event updates: a WebSocket that reconnects.
import { socketUrl } from "../api.js";

const MIN_RETRY_DELAY_MS = 1000;
const MAX_RETRY_DELAY_MS = 30_000;

/**
 * Call `onUpdate` with each update, {change, event, dropped}, while `root` is on the page.
 * `onMissed` is called after a reconnect or when updates were dropped. Returns a function that
 * unsubscribes.
 */
export function subscribe(root, onUpdate, onMissed) {
  let socket,
    timer,
    closed = false,
    retryDelayMs = MIN_RETRY_DELAY_MS,
    isReconnect = false;
  const open = () => {
    socket = new WebSocket(socketUrl("api/events/live"));
    socket.onopen = () => {
      retryDelayMs = MIN_RETRY_DELAY_MS;
      if (isReconnect) onMissed();
      isReconnect = true;
    };
    socket.onmessage = (message) => {
      const update = JSON.parse(message.data);
      if (update.dropped) onMissed();
      onUpdate(update);
    };
    socket.onclose = () => {
      if (closed || !root.isConnected) return;
      timer = setTimeout(open, retryDelayMs);
      retryDelayMs = Math.min(2 * retryDelayMs, MAX_RETRY_DELAY_MS);
    };
  };
  open();
  return () => {
    closed = true;
    clearTimeout(timer);
    socket.close();
  };
}
