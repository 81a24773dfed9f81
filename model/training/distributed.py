"""Data-parallel training: a single process, or the processes that torchrun started."""

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

from stream.runtime.errors import UserError
from stream.runtime.processes import all_cores

T = TypeVar("T")


class TrainingError(UserError):
    """A training run that can't start or go on, with the fix."""


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """World size, rank and device of this process."""

    size: int
    rank: int
    device: torch.device
    cores: int  # processor cores for this process

    @property
    def is_main(self) -> bool:
        """Whether this process evaluates, prints and writes."""
        return self.rank == 0

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network, with gradients averaged over all ranks."""
        if self.size == 1:
            return network
        devices = [self.device] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(network, device_ids=devices)

    def no_sync(self, wrapped: nn.Module, last: bool) -> Any:
        """A context for one backward pass; gradients are averaged only in a step's last pass."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel) and not last:
            return wrapped.no_sync()
        return nullcontext()

    def per_rank_batch(self, batch: int, clips: str = "clips") -> int:
        """This rank's part of a global batch, the same for all ranks.

        Raises TrainingError if the batch can't be divided by the number of processes.
        """
        if batch % self.size:
            raise TrainingError(
                f"a batch of {batch} {clips} can't be divided among {self.size} processes; "
                "start a number of processes that divides it"
            )
        return batch // self.size

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's share of the items."""
        return items[self.rank :: self.size]

    def all_gather(self, own: list[T]) -> list[T]:
        """The results of all ranks' shards, in the order of the whole sequence."""
        if self.size == 1:
            return own
        parts: list[list[T]] = [[] for _ in range(self.size)]
        distributed.all_gather_object(parts, own)
        max_length = max(map(len, parts))
        return [part[n] for n in range(max_length) for part in parts if n < len(part)]

    def run_on_main(self, work: Callable[[], T]) -> T:
        """Run `work` on rank 0 and return its result on all ranks; the other ranks wait.

        A UserError on rank 0 is raised on all ranks, so that none of them waits forever.
        """
        if self.size == 1:
            return work()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = work()
            except UserError as error:
                outcome[1] = error
        distributed.broadcast_object_list(outcome, 0, device=self.device)
        if outcome[1] is not None:
            raise outcome[1]
        result: T = outcome[0]
        return result


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """Join the process group that torchrun's environment variables describe, if any."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    # Not OMP_NUM_THREADS, which torchrun sets to 1: loader processes prepare the clips.
    cores = max(1, all_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    else:
        device = torch.device("cpu")
    if size == 1:
        yield DistributedContext(1, 0, device, cores)
        return
    # All ranks wait while rank 0 evaluates, which can be slow.
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(hours=6)
    )
    try:
        yield DistributedContext(size, rank, device, cores)
    finally:
        # Reference cycles to the group would keep it alive until late in interpreter shutdown.
        gc.collect()
        distributed.destroy_process_group()
