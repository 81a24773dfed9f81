"""A label as the name of a folder. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Not in names of files, here or on other systems.
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u2028\u2029]')
# Devices of Windows, and lists that lie beside the folders.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.csv", re.IGNORECASE)
_MOST_BYTES = 200  # with the digits after it less than the 255 that file systems take


def class_folder(label: str) -> str:
    """The folder of a label in a training folder: the label itself where that can be a name.

    Else it is as near as can be, with digits after it that tell apart what became alike.
    """
    plain = unicodedata.normalize("NFC", label)
    near = _NOT_IN_NAMES.sub("_", plain).strip().rstrip(".")
    near = near.lstrip(".").encode()[:_MOST_BYTES].decode(errors="ignore")  # with a dot: hidden
    if near and near == plain and not _RESERVED.fullmatch(near):
        return near
    digits = hashlib.blake2b(label.encode(), digest_size=4).hexdigest()
    return f"{near or 'label'}-{digits}"
