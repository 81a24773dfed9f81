"""CUDA graphs: capture a GPU's work once, then replay it without Python between the kernels."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from stream.runtime.errors import first_line

_log = logging.getLogger(__name__)


class CudaGraphRunner:
    """Runs a network as CUDA graphs, one per batch size, captured on first use.

    Where capture fails, it logs the reason and runs the network without graphs.
    Raises torch.OutOfMemoryError.
    """

    def __init__(self, network: Callable[[Tensor], Tensor]) -> None:
        self._network = network
        self._captured: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        self._supported = True

    def __call__(self, clips: Tensor) -> Tensor:
        if self._supported and len(clips) not in self._captured:
            self._capture(clips)
        if not self._supported:
            return self._network(clips)
        graph, pixels, logits = self._captured[len(clips)]
        pixels.copy_(clips)
        graph.replay()
        return logits

    def _capture(self, clips: Tensor) -> None:
        pixels = clips.clone()
        try:
            graph, logits = capture_graph(lambda: self._network(pixels))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # drivers and kernels fail in many ways
            if isinstance(error.__context__, torch.OutOfMemoryError):
                raise error.__context__ from error
            reason = first_line(error)
            _log.warning("CUDA graphs are not available, running without them: %.200s", reason)
            self._supported = False
            return
        self._captured[len(clips)] = graph, pixels, logits


def capture_graph(run: Callable[[], Tensor]) -> tuple[torch.cuda.CUDAGraph, Tensor]:
    """The graph of the kernels that `run` launches, and the tensor that each replay fills."""
    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):  # libraries initialize outside the capture
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = run()
    return graph, result
