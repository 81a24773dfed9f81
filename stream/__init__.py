"""Cameras in, labelled events out. `from stream import Pipeline` is all that a program needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.config.config import Config as Config
    from stream.config.load import load_config as load_config
    from stream.pipeline import Pipeline as Pipeline

_PLACES = {
    "Pipeline": "pipeline",
    "Config": "settings.config",
    "load_config": "settings.config_file",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: a worker needs the messages and not all the rest."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
