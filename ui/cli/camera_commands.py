"""Commands for cameras: list-cameras, doctor."""

from __future__ import annotations

import platform
import re
import shutil
from typing import Annotated

import typer

from ui.cli.options import source_spec
from ui.cli.terminal import print_line


def list_cameras() -> None:
    """List the webcams of this machine."""
    from stream.capture.probe import list_webcams

    found = list(list_webcams())
    for index, name in found:
        print_line(f"{index}  {name}")
    if not found:
        print_line("no webcam found; give network cameras by address, like rtsp://host/path")


def doctor(
    source: Annotated[
        str | None, typer.Option(help="webcam index, address or file to probe as well")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="how long the source is read")] = 5.0,
) -> None:
    """Report what this machine supports; probe a source and recommend settings."""
    _report_machine()
    if source is not None:
        _report_source(source, seconds)


def _report_machine() -> None:
    import cv2
    import torch

    from model.engines.linear import Int8Linear, PackedLinear
    from model.engines.torch_engine import cpu_precision
    from stream.capture.probe import list_webcams
    from stream.runtime.processes import cores

    print_line(
        f"python {platform.python_version()}, {platform.platform(terse=True)}, {cores()} cores"
    )
    print_line(f"torch {torch.__version__}, opencv {cv2.__version__}, {_openvino()}")
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    print_line(f"GPUs: {', '.join(gpus) or 'none'}")
    packed = "packed weights" if PackedLinear.available() else "no packed weights: slow"
    int8 = "int8" if Int8Linear.available() else "no int8"
    print_line(f"CPU: precision auto is {cpu_precision('auto')}; {packed}; {int8}")
    compiler = shutil.which("g++") or shutil.which("clang++") or "none found"
    print_line(f"compile: on needs a C++ compiler ({compiler}); auto needs none")
    print_line(f"video: {_video(cv2.getBuildInformation())}")
    found = ", ".join(f"{index} ({name})" for index, name in list_webcams())
    print_line(f"webcams: {found or 'none'}")


def _openvino() -> str:
    try:
        import openvino
    except ImportError:
        return "openvino not installed (an extra)"
    return f"openvino {openvino.__version__.split('-')[0]}"


def _video(build: str) -> str:
    """The backends in OpenCV's build information: ffmpeg reads files and network cameras."""
    found = re.search(r"avcodec:\s+YES \((.*)\)", build)
    ffmpeg = f"ffmpeg's avcodec {found[1]}" if found else "no ffmpeg: no network cameras"
    webcams = "V4L2" if re.search(r"v4l/v4l2:\s+YES", build) else "the system's own"
    return f"{ffmpeg}; webcams by {webcams}"


def _report_source(source: str, seconds: float) -> None:
    from stream.capture.probe import probe_source
    from stream.runtime.secrets import redact

    spec = source_spec(source)
    found = probe_source(spec, seconds=seconds)
    print_line(f"\n{redact(spec)}: {found.width} x {found.height}, {found.fps:.1f} frames/s")
    print_line(f"opened in {found.open_s:.2f} s, first frame after {found.first_frame_s:.2f} s")
    corrections = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in found.counts.items())
    print_line(f"timestamps: {corrections or 'no problems'}")
    for advice in found.advice() or ["nothing to change"]:
        print_line(f"- {advice}")
