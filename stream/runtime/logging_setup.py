"""What is logged, for the person at the terminal: our notes, and of other packages warnings."""

from __future__ import annotations

import logging

OURS = ("stream", "model", "ui")  # loggers; others log what nobody here can mend


def show_notes(who: str = "") -> None:
    """Print on the standard error, line by line with the time, and with who says it."""
    shown = logging.StreamHandler()
    shown.addFilter(_is_for_people)
    form = f"%(asctime)s {who}%(message)s"
    logging.basicConfig(level=logging.INFO, format=form, datefmt="%H:%M:%S", handlers=[shown])


def _is_for_people(record: logging.LogRecord) -> bool:
    package = record.name.partition(".")[0]
    if package in OURS:
        return True
    # The hub's warns of what a person need not do; what goes wrong its errors tell.
    return record.levelno >= (logging.ERROR if package == "huggingface_hub" else logging.WARNING)
