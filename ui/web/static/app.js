// The custom elements of the page, one for each Gradio tab.
import "./heading.js";
import "./live/live.js";
import "./timeline/timeline.js";
import "./events/events.js";
import "./tuning/tuning.js";
import "./try/try.js";
import "./health/health.js";
import "./configuration/configuration.js";
