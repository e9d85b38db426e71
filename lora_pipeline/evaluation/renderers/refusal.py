"""What a child of a renderer says when it will not draw."""

from __future__ import annotations


class DrawingRefusedError(Exception):
    """A picture would not be what was asked for; the message says why."""
