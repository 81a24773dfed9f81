from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from stream.config.events import EventsConfig
from stream.events.detector import Detector
from stream.messages import ClipSpec, LoggedEvent, Prediction
from stream.replay.policy_preview import PolicyPreview, ScoreRange
from stream.runtime.metrics import Metrics
from stream.sinks.event_log.event_log import EventLog
from stream.sinks.score_files import quantize
from stream.sinks.score_log import ScoreLog
from ui.web.api.tuning_preview import preview_response

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def test_moved_event_leaves_another_label_with_the_same_start_unchanged(
    tmp_path: Path, spec: ClipSpec
) -> None:
    logged_with = EventsConfig(threshold=0.4, release_threshold=0.2, smoothing=0.0)
    scores = ScoreLog(tmp_path, "a" * 32, Metrics())
    scores.on_model(spec, ())
    detector = Detector("door", logged_with, spec.background)
    updates = []
    for step in range(1, 81):
        at_s = step * 0.25
        jump = 0.45 if 5 <= at_s < 8 else 0.0
        run = jump or (0.3 if 8 <= at_s < 10 else 0.0)  # fades out
        probabilities = quantize(np.array([1 - jump - run, jump, run], np.float32))
        one = Prediction("door", spec.labels, probabilities, at_s - 0.15, at_s + 0.15, 0.0, 0.0)
        scores.on_prediction(one, NOON + timedelta(seconds=one.end_s))
        updates += detector.update(one)
    scores.join(0)
    steeper = logged_with.model_copy(update={"release_threshold": 0.35})  # ends `run` earlier
    score_range = ScoreRange("door", spec.model, NOON, NOON + timedelta(minutes=1))
    with EventLog.create(tmp_path) as log:
        closed = [event for event in updates if event.end_s is not None]
        log.write_updates([LoggedEvent(event, "end", NOON, spec.model) for event in closed])
        preview = PolicyPreview(tmp_path, log)
        shown = {
            label: preview_response(preview, score_range, steeper, label)
            for label in ("jump", "run")
        }
    changes = {
        label: [span.change for span in (*one.logged, *one.preview)] for label, one in shown.items()
    }
    assert changes == {"jump": ["unchanged", "unchanged"], "run": ["moved", "moved"]}
