// News of events as they are logged: a WebSocket that comes back by itself.
import { socketAddress } from "../api.js";

const longestPauseMs = 30_000;

/**
 * Call `hear` with all news while `root` is on the page: {change, event, dropped}. After a
 * connection was lost, `missed` is called, for there may have been others. Returns what ends it.
 */
export function listen(root, hear, missed) {
  let socket,
    timer,
    over = false,
    pauseMs = 1000,
    again = false;
  const open = () => {
    socket = new WebSocket(socketAddress("api/events/live"));
    socket.onopen = () => {
      pauseMs = 1000;
      if (again) missed();
      again = true;
    };
    socket.onmessage = (message) => {
      const news = JSON.parse(message.data);
      if (news.dropped) missed();
      hear(news);
    };
    socket.onclose = () => {
      if (over || !root.isConnected) return;
      timer = setTimeout(open, pauseMs);
      pauseMs = Math.min(2 * pauseMs, longestPauseMs);
    };
  };
  open();
  return () => {
    over = true;
    clearTimeout(timer);
    socket.close();
  };
}
