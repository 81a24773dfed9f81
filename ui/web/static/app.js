// The page's own elements; Gradio puts one into each of its tabs.
import "./heading.js";
import "./live/live.js";
import "./timeline/timeline.js";
import "./events/events.js";
import "./tuning/tuning.js";
import "./try/try.js";
import "./health/health.js";
import "./configuration/configuration.js";
