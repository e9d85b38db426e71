"""An image, its caption and its mask put into a folder that nobody reads yet.

The child programs that place import this module, so it stands on as little as it can. Nothing
is forced to disk: what is placed can be made again, and is proven by its digest.
"""

from __future__ import annotations

import errno
import os
import shutil
from typing import NamedTuple

# Another disk, too many links, a file system without them, a folder that forbids them.
_NO_LINK = frozenset(
    {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS}
)


class Placement(NamedTuple):
    """One image, its caption and, where there is one, its mask.

    Attributes:
        source: File of the image.
        target: Where it goes, by hard link where the disk allows it.
        caption_file: Where the caption goes.
        caption: One line.
        mask: File of the mask; empty without one.
        mask_target: Where that goes, likewise.
    """

    source: str
    target: str
    caption_file: str
    caption: str
    mask: str = ""
    mask_target: str = ""


def place(one: Placement) -> None:
    """Put an image, its caption and its mask in their places.

    Raises:
        OSError: As the file system says; also when something stands there already.
    """
    _link(one.source, one.target)
    if one.mask:
        _link(one.mask, one.mask_target)
    descriptor = os.open(
        one.caption_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666
    )
    try:
        os.write(descriptor, one.caption.encode())
    finally:
        os.close(descriptor)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)
