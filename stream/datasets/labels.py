"""Converts labels to names of folders."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# Characters that some file system does not allow in a name.
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u2028\u2029]')
# Device names of Windows, and the list that lies beside the folders.
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.csv", re.IGNORECASE)
_MAX_BYTES = 200  # with the hash after it, below the 255 bytes of common file systems


def label_dirname(label: str) -> str:
    """The folder of a label in a training folder: the label itself if it is a valid name.

    Else it is a similar name with a hash after it, which keeps similar labels apart.
    """
    plain = unicodedata.normalize("NFC", label)
    valid = _FORBIDDEN.sub("_", plain).strip().rstrip(".")
    valid = valid.lstrip(".").encode()[:_MAX_BYTES].decode(errors="ignore")  # a dot would hide it
    if valid and valid == plain and not _RESERVED.fullmatch(valid):
        return valid
    digest = hashlib.blake2b(label.encode(), digest_size=4).hexdigest()
    return f"{valid or 'label'}-{digest}"
