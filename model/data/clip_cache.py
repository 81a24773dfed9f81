"""What was decoded of films, kept in a folder: each film is decoded once, not in each epoch."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from model.data.examples import Example
from model.data.segments import LONGEST_TAKE_S, MARGIN, Take, read_take, read_views
from stream.messages import ClipSpec

log = logging.getLogger(__name__)

_FORMAT = 1  # of what is kept; a higher one makes all of it anew

Arrays = tuple[np.ndarray, ...]


class ClipCache:
    """Takes and views of examples, for one kind of clip. Safe to use from several threads.

    Arrays are mapped into memory where the folder takes them; what it doesn't take, for the disk
    is full, say, stays in memory. `slowest` is that of `read_take`.
    """

    def __init__(self, folder: Path, spec: ClipSpec, slowest: float = 1.0) -> None:
        self._folder = folder
        self.spec = spec
        self._slowest = slowest
        self._unwritten: dict[str, Arrays] = {}

    def take(self, example: Example) -> Take:
        """See `read_take`."""

        def read() -> Arrays:
            take = read_take(example, self.spec, self._slowest)
            bounds = [take.start_s, take.end_s, take.film_s, take.lasts_s]
            return np.concatenate([bounds, take.times]), take.pictures

        kind = ("take", MARGIN, LONGEST_TAKE_S, self._slowest)
        numbers, pictures = self._get(example, kind, 2, read)
        return Take(pictures, np.array(numbers[4:]), *numbers[:4].tolist())

    def views(self, example: Example, windows: int | None = None) -> np.ndarray:
        """See `read_views`."""
        kind = ("views", windows)
        return self._get(example, kind, 1, lambda: (read_views(example, self.spec, windows),))[0]

    def _get(
        self, example: Example, kind: tuple[object, ...], count: int, read: Callable[[], Arrays]
    ) -> Arrays:
        key = self._key(example, kind)
        if key in self._unwritten:
            return self._unwritten[key]
        files = [self._folder / f"{key}-{number}.npy" for number in range(count)]
        try:
            return tuple(np.load(file, mmap_mode="r") for file in files)
        except (OSError, ValueError, EOFError):  # not there, not ours to read, or damaged
            arrays = read()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for file, array in zip(files, arrays, strict=True):
                _write(file, array)
        except OSError as error:
            if not self._unwritten:
                log.warning(
                    "%s takes no more clips (%s): the rest stays in memory", self._folder, error
                )
            self._unwritten[key] = arrays
        return arrays

    def _key(self, example: Example, kind: tuple[object, ...]) -> str:
        """Digits that change with anything that the pictures depend on."""
        film, spec = example.path.resolve(), self.spec
        try:
            state = film.stat()
            version = (state.st_size, state.st_mtime_ns)
        except OSError:
            version = (0, 0)  # reading it will say what is wrong
        parts = (
            *(_FORMAT, str(film), version, example.start_s, example.end_s, kind),
            *(spec.frames, spec.span_s, spec.height, spec.width, spec.fit, spec.shortest_edge),
        )
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _write(file: Path, array: np.ndarray) -> None:
    # Another thread or process may be decoding the same film.
    part = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as stream:
            np.save(stream, array)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
