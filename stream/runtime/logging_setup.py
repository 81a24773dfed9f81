"""Logging on the terminal: own messages, and only warnings of other packages."""

from __future__ import annotations

import logging

OWN_LOGGERS = ("stream", "model", "ui")  # loggers; the user can't act on messages of others


def configure_logging(prefix: str = "") -> None:
    """Print messages on standard error, with the time and `prefix`."""
    handler = logging.StreamHandler()
    handler.addFilter(_is_for_user)
    line_format = f"%(asctime)s {prefix}%(message)s"
    logging.basicConfig(
        level=logging.INFO, format=line_format, datefmt="%H:%M:%S", handlers=[handler]
    )


def _is_for_user(record: logging.LogRecord) -> bool:
    package = record.name.partition(".")[0]
    if package in OWN_LOGGERS:
        return True
    # Warnings of the hub need no action; problems are logged as errors.
    return record.levelno >= (logging.ERROR if package == "huggingface_hub" else logging.WARNING)
