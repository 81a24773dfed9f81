"""Descriptions of the counters, as the Health tab shows them."""

from __future__ import annotations

# Counters of normal operation: the Health tab does not list them.
NORMAL = frozenset({"frames", "windows", "events", "clips", "alerts", "unused_frames", "sessions"})
DESCRIPTIONS = {
    "hung_reads": "camera reads that hung; the camera was reopened",
    "alert_crashes": "crashes of the alert dispatcher",
    "clock_jumps": "jumps of a camera's clock",
    "damaged_frames": "corrupted frames",
    "untrusted_timestamps": "untrusted camera timestamps",
    "stale_frames_dropped": "stale frames dropped to catch up",
    "dropped_alerts": "alerts dropped because the queue was full",
    "dropped_clips": "event clips dropped because the queue was full",
    "dropped_publications": "published messages dropped because a subscriber was too slow",
    "gaps": "gaps in a camera's stream",
    "wall_clock_steps": "steps of this computer's clock",
    "subprocess_captures": "cameras reopened in a subprocess",
    "journaled_events": "event updates written to the journal while the event log was unavailable",
    "late_results": "inference results that arrived too late",
    "late_frames": "frames that arrived too late",
    "log_crashes": "crashes of the event log writer",
    "log_retries": "retries of event log writes",
    "lost_events": "event updates lost",
    "lost_windows": "inferences lost with a worker",
    "low_disk": "low disk space warnings",
    "malformed_messages": "malformed messages",
    "misordered_frames": "out-of-order frames",
    "motion_gated_windows": "windows skipped because nothing moved",
    "out_of_order_predictions": "out-of-order predictions discarded",
    "publisher_crashes": "crashes of the publisher",
    "reconnect_attempts": "reconnection attempts",
    "recorder_crashes": "crashes of the clip recorder",
    "rejected_alerts": "alerts rejected by the receiver",
    "rejected_sessions": "browser sessions rejected because the limit was reached",
    "rejected_workers": "workers rejected for a wrong key",
    "repeated_frames": "duplicate frames",
    "resent_windows": "inferences retried",
    "sink_errors": "errors of event sinks",
    "skipped_windows": "windows skipped because the model was busy",
    "stalls": "camera stalls",
    "thread_crashes": "crashes of other threads",
    "unanswered_windows": "inferences not completed",
    "subscriber_overflow_events": "events dropped because a subscriber was too slow",
    "dropped_predictions": "predictions dropped because the queue was full",
    "scores_not_stored": "scores not stored",
    "orphaned_results": "orphaned inference results discarded",
    "orphaned_predictions": "predictions of removed cameras discarded",
    "recorder_dropped_events": "events without a clip",
    "recorder_dropped_frames": "frames missing from clips",
    "worker_failures": "worker failures",
    "worker_restarts": "worker restarts",
}


def describe(name: str) -> str:
    """A counter's description, or its name with spaces if it has none."""
    return DESCRIPTIONS.get(name, name.replace("_", " "))
