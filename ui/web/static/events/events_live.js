// Live event updates: a WebSocket that reconnects.
import { Backoff, socketUrl } from "../api.js";

/**
 * Call `onUpdate` with each update, {change, event, dropped}, while `root` is on the page.
 * `onMissed` is called after a reconnect or when updates were dropped. Returns a function that
 * unsubscribes.
 */
export function subscribe(root, onUpdate, onMissed) {
  const backoff = new Backoff(1000, 30_000);
  let socket,
    timer,
    closed = false,
    isReconnect = false;
  const open = () => {
    socket = new WebSocket(socketUrl("api/events/live"));
    socket.onopen = () => {
      backoff.reset();
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
      timer = setTimeout(open, backoff.nextMs());
    };
  };
  open();
  return () => {
    closed = true;
    clearTimeout(timer);
    socket.close();
  };
}
