"""A real RTSP camera for the system's Python, which has GStreamer: a moving ball, H.264.

Prints its port when it listens. Exits with its parent process.
"""

import argparse
import os
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--password", help="of the user viewer; without it no password is needed")
    parser.add_argument("--resize-after", type=float, help="seconds until frames get larger")
    args = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball ! capsfilter name=size "
        f"caps=video/x-raw,width=320,height=240,framerate={args.fps}/1 "
        "! x264enc threads=1 sliced-threads=false tune=zerolatency key-int-max=25 "
        "! rtph264pay name=pay0 config-interval=-1 )"
    )
    factory.set_shared(True)
    if args.resize_after:
        factory.connect("media-configure", lambda _, media: grow(media, args))
    if args.password:
        require_password(server, factory, args.password)
    server.get_mount_points().add_factory("/live", factory)
    if not server.attach(None):
        sys.exit(f"port {args.port} is in use")
    print(server.get_bound_port(), flush=True)
    parent, loop = os.getppid(), GLib.MainLoop()
    GLib.timeout_add(200, lambda: os.getppid() == parent or loop.quit())
    loop.run()


def grow(media: "GstRtspServer.RTSPMedia", args: argparse.Namespace) -> None:
    def resize() -> bool:
        size = media.get_element().get_by_name("size")
        caps = f"video/x-raw,width=480,height=360,framerate={args.fps}/1"
        size.set_property("caps", Gst.Caps.from_string(caps))
        return False

    GLib.timeout_add(int(1000 * args.resize_after), resize)


def require_password(
    server: "GstRtspServer.RTSPServer", factory: "GstRtspServer.RTSPMediaFactory", password: str
) -> None:
    """Require the password (digest authentication, as cameras do)."""
    auth = GstRtspServer.RTSPAuth.new()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest("viewer", password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)


main()
