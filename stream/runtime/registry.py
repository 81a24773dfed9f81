"""Registry: named things that are added from outside, each by one new module."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """What is registered under a name, in the order of registration.

    Modules of `package` register themselves when they are imported; they are imported when the
    registry is read for the first time, and so are the entry points of other distributions in the
    group `actionwatch.<kind>`. So a new built-in is one new file in `package`, and a plugin is a
    package of its own; no list has to be edited.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._is_loaded = False

    def add(self, name: str, entry: T) -> T:
        """Register `entry`. Raises ValueError where the name is in use."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered already; use another name")
        self._entries[name] = entry
        return entry

    def register(self, name: str) -> Callable[[T], T]:
        """`add` as a decorator."""
        return lambda entry: self.add(name, entry)

    def remove(self, name: str) -> None:
        """Undo `add`. Raises KeyError for an unknown name."""
        del self._entries[name]

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._entries)

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def _load(self) -> None:
        if self._is_loaded:
            return
        self._is_loaded = True
        package = importlib.import_module(self._package)
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
            importlib.import_module(f"{self._package}.{module.name}")
        for entry in entry_points(group=f"actionwatch.{self.kind.replace(' ', '_')}"):
            entry.load()
