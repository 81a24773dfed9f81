// The page's own elements; Gradio puts one into each of its tabs.
import "./heading.js";
import "./live.js";
import "./timeline.js";
import "./events.js";
import "./tuning.js";
import "./try.js";
import "./health.js";
import "./configuration.js";
