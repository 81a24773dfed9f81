"""CUDA graphs: a GPU's work recorded once, and replayed without Python between the kernels."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

_log = logging.getLogger(__name__)


class Graphs:
    """Runs a network as graphs, one for each batch size, recorded when it first comes.

    Where recording fails it goes on without, and says why. Raises torch.OutOfMemoryError.
    """

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self._network = network
        self._recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._works = True

    def __call__(self, clips: Tensor) -> Tensor:
        if self._works and len(clips) not in self._recorded:
            self._record(clips)
        if not self._works:
            return self._network(clips)
        graph, pixels, logits = self._recorded[len(clips)]
        pixels.copy_(clips)
        graph.replay()
        return logits

    def _record(self, clips: Tensor) -> None:
        pixels = clips.clone()
        try:
            graph, logits = record(lambda: self._network(pixels))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # drivers and kernels fail in many ways
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from error
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            _log.warning("CUDA graphs do not work here, going on without: %.200s", reason)
            self._works = False
            return
        self._recorded[len(clips)] = graph, pixels, logits


def record(run: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """The graph of what `run` does, and the tensor that each replay fills anew."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # libraries set themselves up outside the recording
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph, result
