"""What is logged, for the person at the terminal: our notes, and of other packages warnings."""

from __future__ import annotations

import logging

OURS = ("stream", "model", "ui")  # loggers; others log what nobody here can mend


def show_notes(who: str = "") -> None:
    """Print on the standard error, line by line with the time, and with who says it."""
    form = f"%(asctime)s {who}%(message)s"
    logging.basicConfig(level=logging.WARNING, format=form, datefmt="%H:%M:%S")
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    # It warns of what a person need not do, and what goes wrong its errors tell.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
