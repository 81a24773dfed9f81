"""The processes of one training run: one by itself, or those that torchrun started."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed, nn

from model.checkpoint import CheckpointError
from stream.runtime.thread_limits import all_cores

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Team:
    """How many processes train together, which of them this is, and what it computes on."""

    size: int
    rank: int
    device: torch.device
    cores: int  # processor cores for this process

    @property
    def leads(self) -> bool:
        """Whether this process measures, shows and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, with gradients that are averaged over the team."""
        if self.size == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices)

    def quiet(self, wrapped: nn.Module, last: bool) -> Any:
        """A context for the passes of a batch: only the last of a step has gradients to average."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel) and not last:
            return wrapped.no_sync()
        return nullcontext()

    def part(self, batch: int, clips: str = "clips") -> int:
        """How many of a batch of the whole team are this process's: as many as each other's.

        Raises CheckpointError where that can't be.
        """
        if batch % self.size:
            raise CheckpointError(
                f"a batch of {batch} {clips} can't be shared out among {self.size} processes; "
                "start as many as divide it"
            )
        return batch // self.size

    def share(self, things: Sequence[Thing]) -> Sequence[Thing]:
        """Those that this process sees to."""
        return things[self.rank :: self.size]

    def together(self, own: list[Thing]) -> list[Thing]:
        """What all have, of their shares: in the order of the whole."""
        if self.size == 1:
            return own
        parts: list[list[Thing]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(parts, own)
        longest = max(map(len, parts))
        return [part[n] for n in range(longest) for part in parts if n < len(part)]

    def led(self, work: Callable[[], Thing]) -> Thing:
        """What the leader's work comes to, for all; the others wait for it.

        What the leader raises as CheckpointError is raised in all, so that none is left waiting.
        """
        if self.size == 1:
            return work()
        told: list[Any] = [None, ""]
        if self.leads:
            try:
                told[0] = work()
            except CheckpointError as error:
                told[1] = str(error)
        distributed.broadcast_object_list(told, 0, device=self.device)
        if told[1]:
            raise CheckpointError(told[1])
        result: Thing = told[0]
        return result


@contextmanager
def team() -> Iterator[Team]:
    """The team that this process is in. `torchrun` tells by its environment variables."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    # Not by OMP_NUM_THREADS, which torchrun sets to 1: clips are made in processes.
    shared = max(1, all_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if size == 1:
        yield Team(1, 0, device, shared)
        return
    # All wait while the leader measures, which may take long.
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=6)
    )
    try:
        yield Team(size, rank, device, shared)
    finally:
        # What still knows the group, in circles, would keep it until the interpreter is half gone.
        gc.collect()
        distributed.destroy_process_group()
