"""The commands about cameras: sources, doctor."""

from __future__ import annotations

import platform
import re
import shutil
from typing import Annotated

import typer

from ui.cli.terminal import give_up, say, silence_decoders


def sources() -> None:
    """List the cameras at this machine."""
    silence_decoders()
    from stream.capture.probe import webcams

    found = list(webcams())
    for index, name in found:
        say(f"{index}  {name}")
    if not found:
        say("no webcam was found; network cameras are given by address, like rtsp://host/path")


def doctor(
    source: Annotated[
        str | None, typer.Option(help="a webcam's index, address or file to examine as well")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="how long the source is watched")] = 5.0,
) -> None:
    """Say what this machine can do, and what a source is like and should be set to."""
    silence_decoders()
    _machine()
    if source is not None:
        _source(source, seconds)


def _machine() -> None:
    import cv2
    import torch

    from model.engines.linear import Int8Linear, PackedLinear
    from model.engines.torch_engine import cpu_precision
    from stream.capture.probe import webcams
    from stream.runtime.thread_limits import cores

    say(f"python {platform.python_version()}, {platform.platform(terse=True)}, {cores()} cores")
    say(f"torch {torch.__version__}, opencv {cv2.__version__}, {_openvino()}")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    say(f"GPUs: {', '.join(gpus) or 'none'}")
    packed = "packed weights" if PackedLinear.available() else "no packed weights: slow"
    int8 = "int8" if Int8Linear.available() else "no int8"
    say(f"CPU: precision auto is {cpu_precision('auto')}; {packed}; {int8}")
    compiler = shutil.which("g++") or shutil.which("clang++") or "none found"
    say(f"compile: on needs a C++ compiler ({compiler}); auto needs none")
    say(f"video: {_video(cv2.getBuildInformation())}")
    found = ", ".join(f"{index} ({name})" for index, name in webcams())
    say(f"webcams: {found or 'none'}")


def _openvino() -> str:
    try:
        import openvino
    except ImportError:
        return "openvino not installed (an extra)"
    return f"openvino {openvino.__version__.split('-')[0]}"


def _video(build: str) -> str:
    """From what OpenCV tells about itself: files and network cameras come by way of ffmpeg."""
    found = re.search(r"avcodec:\s+YES \((.*)\)", build)
    ffmpeg = f"ffmpeg's avcodec {found[1]}" if found else "no ffmpeg: no network cameras"
    webcams = "V4L2" if re.search(r"v4l/v4l2:\s+YES", build) else "the system's own"
    return f"{ffmpeg}; webcams by {webcams}"


def _source(source: str, seconds: float) -> None:
    from stream.capture.probe import examine
    from stream.runtime.secrets import shown
    from stream.sources.opencv_capture import SourceError

    meant = int(source) if source.isascii() and source.isdigit() else source
    try:
        found = examine(meant, seconds=seconds)
    except SourceError as error:
        give_up(str(error))
    say(f"\n{shown(meant)}: {found.width} x {found.height}, {found.fps:.1f} pictures a second")
    say(f"opened in {found.open_s:.2f} s, first picture after {found.first_s:.2f} s")
    mended = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in found.counts.items())
    say(f"times: {mended or 'as they should be'}")
    for advice in found.advice() or ["nothing to change"]:
        say(f"- {advice}")
