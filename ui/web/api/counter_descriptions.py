"""What the counters mean, in words for whoever looks at the Health tab."""

from __future__ import annotations

# What goes well, and is told elsewhere.
GOOD = frozenset({"frames", "windows", "events", "clips", "alerts", "unneeded_frames", "guests"})
WORDS = {
    "abandoned_reads": "times a camera hung and was opened anew beside it",
    "alert_deaths": "alerts that stopped working",
    "clock_jumps": "times a camera's clock jumped",
    "damaged_frames": "damaged pictures",
    "distrusted_clocks": "times a camera's clock could not be trusted",
    "drained_frames": "old pictures thrown away to catch up",
    "dropped_alerts": "alerts thrown away because too many waited",
    "dropped_clips": "clips thrown away because too many waited",
    "dropped_publications": "messages that subscribers were too slow for",
    "gaps": "gaps in a camera's pictures",
    "host_clock_settings": "times this computer's clock was set",
    "isolated_openings": "times a camera was opened in a process of its own",
    "journaled_events": "event entries kept in the journal because the log was away",
    "late_answers": "answers of the model that came too late",
    "late_frames": "pictures that came too late",
    "log_deaths": "times the event log stopped working",
    "log_retries": "times writing to the event log was tried again",
    "lost_events": "event entries lost",
    "lost_windows": "looks of the model lost with a worker",
    "low_disk": "times the disk was nearly full",
    "malformed_messages": "messages nobody could read",
    "misordered_frames": "pictures in the wrong order",
    "overtaken_predictions": "answers overtaken by later ones",
    "publisher_deaths": "times publishing stopped working",
    "reconnect_attempts": "times a camera was tried again",
    "recorder_deaths": "times recording stopped working",
    "refused_alerts": "alerts that the receiver refused",
    "refused_guests": "visitors turned away because there were too many",
    "refused_workers": "workers turned away for a wrong key",
    "repeated_frames": "pictures a camera sent twice",
    "resent_windows": "looks of the model asked for again",
    "skipped_windows": "looks left out because the model was busy",
    "stalls": "times a camera stood still",
    "unanswered_windows": "looks of the model without an answer",
    "unheard_events": "events that a listener was too slow for",
    "unjudged_predictions": "answers thrown away because too many waited",
    "unkept_scores": "scores not kept",
    "unneeded_answers": "answers nobody needed any more",
    "unneeded_predictions": "answers nobody needed any more, after a camera was removed",
    "unrecorded_events": "events without a clip",
    "unrecorded_frames": "pictures missing from clips",
    "worker_failures": "times a worker failed",
    "worker_restarts": "times a worker was started again",
}


def in_words(name: str) -> str:
    """A counter's meaning, or its name where nobody wrote one down."""
    return WORDS.get(name, name.replace("_", " "))
