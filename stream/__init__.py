"""Live action recognition: cameras in, labeled events out. Use `from stream import Pipeline`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stream.config.config import Config as Config
    from stream.config.load import load_config as load_config
    from stream.pipeline import Pipeline as Pipeline

_MODULES = {
    "Pipeline": "pipeline",
    "Config": "config.config",
    "load_config": "config.load",
}


def __getattr__(name: str) -> Any:
    """Import lazily: a worker needs only the messages."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
