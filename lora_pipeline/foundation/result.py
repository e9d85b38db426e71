"""The one answer that every operation gives, whichever face asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace


class Refusal(msgspec.Struct, frozen=True):
    """A "no" that was asked for: the checks ran, and this is their answer.

    Attributes:
        code: Stable slug, such as ``gate_refused``.
        message: The answer in one line.
        hint: The next command, where there is one.
    """

    code: str
    message: str
    hint: str | None = None


class Result(msgspec.Struct, frozen=True):
    """What an operation did, in a form for people, scripts and agents alike.

    A refusal is an answer and stands in ``refusal``; a failure is a ``PipelineError`` and is
    raised instead of returned.

    Attributes:
        data: JSON-ready facts; its shape is part of the operation's contract.
        reasoning: Why the outcome is what it is, one sentence.
        warnings: What a careful person would want to know.
        suggestions: Next commands, ready to paste.
        written: Paths that were (or, in a dry run, would be) written, relative to the root.
        dry_run: True when nothing was written.
        refusal: Set when the answer is no.
        depends_on: Names every file and folder that the answer was made from, when the same
            call would give the same answer as long as none of them changes; else None.
        afterwards: What is to be done once the answer stands, which is after the commit where
            one was asked for; returns warnings. Each face calls ``settled`` as the last thing.
    """

    data: Mapping[str, Any] = msgspec.field(default_factory=dict)
    reasoning: str = ""
    warnings: Sequence[str] = ()
    suggestions: Sequence[str] = ()
    written: Sequence[str] = ()
    dry_run: bool = False
    refusal: Refusal | None = None
    depends_on: Callable[[], Iterable[str]] | None = None
    afterwards: Callable[[], Sequence[str]] | None = None

    @property
    def success(self) -> bool:
        """Whether the answer is yes."""
        return self.refusal is None

    def with_warnings(self, warnings: Sequence[str]) -> Result:
        """Return the same result with ``warnings`` added."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def settled(self) -> Result:
        """Return the result after everything was done that waited for it to stand."""
        if self.afterwards is None:
            return self
        return replace(self.with_warnings(self.afterwards()), afterwards=None)

    def repeatable(self, depends_on: Callable[[], Iterable[str]]) -> Result:
        """Return the same result, which holds as long as no file of ``depends_on`` changes."""
        return replace(self, depends_on=depends_on)

    def to_dict(self) -> dict[str, Any]:
        """Return the document that ``--json``, REST and MCP print."""
        document: dict[str, Any] = {
            "success": self.success,
            "data": dict(self.data),
            "error": None,
            "reasoning": self.reasoning,
            "warnings": list(self.warnings),
            "suggestions": list(self.suggestions),
            "written": list(self.written),
            "dryRun": self.dry_run,
        }
        if self.refusal is not None:
            document["error"] = {
                "code": self.refusal.code,
                "message": self.refusal.message,
                "hint": self.refusal.hint,
            }
        return document
