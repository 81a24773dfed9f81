from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path

from stream.messages import ClipSpec
from stream.runtime.metrics import Metrics
from stream.scheduling.policy import POLICIES
from stream.scheduling.scheduler import Scheduler
from stream.scheduling.window_state import DueWindow
from stream.workers.transport import SchedulerSocket, WorkerClient
from tests.desk import ClipSource, filled, scores_for
from tests.waiting import wait_for


class OnlyCamera:
    """A dispatch policy from outside: windows of one camera alone."""

    retries = False

    def __init__(self, name: str) -> None:
        self._name = name

    def batch_size(self, capacity: int) -> int:
        return capacity

    def select(self, due: Sequence[DueWindow], busy: Set[str]) -> list[DueWindow]:
        return [one for one in due if one.stream.name == self._name]


class Listener:
    """Receives everything and drops it."""

    def on_model(self, spec: ClipSpec) -> None:
        pass

    def on_prediction(self, prediction: object) -> None:
        pass

    def on_hello(self, worker: bytes, devices: int) -> None:
        pass

    def on_timeout(self, worker: bytes) -> None:
        pass

    def on_worker_failure(self, worker: bytes, reason: str) -> None:
        raise AssertionError(reason)


def test_dispatch_policy_is_added_by_registration_alone(tmp_path: Path, spec: ClipSpec) -> None:
    POLICIES.add("only_yard", OnlyCamera("yard"))
    try:
        cameras = {name: ClipSource(filled(spec, 1.0)) for name in ("door", "yard")}
        metrics = Metrics()
        socket = SchedulerSocket(f"ipc://{tmp_path / 'scheduler'}")
        scheduler = Scheduler(
            socket,
            cameras,
            metrics,
            stride_s=0.25,
            result_timeout_s=30.0,
            policy=POLICIES["only_yard"],
            predictions=Listener(),
            workers=Listener(),
        )
        scheduler.start()
        try:
            with WorkerClient(socket.endpoint, spec) as worker:
                clips = worker.request_clips(capacity=8, timeout_s=60)
                assert [clip.camera for clip in clips] == ["yard"]
                worker.send_result(scores_for(clips))
                wait_for(lambda: metrics.total("windows") == 1)
        finally:
            scheduler.request_stop()
            assert scheduler.join(60)
            socket.__exit__()
    finally:
        POLICIES.remove("only_yard")
