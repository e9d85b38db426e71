"""What a report tells: as data for machines, for Markdown and for a page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.datasets.diff.view import DiffView
from lora_pipeline.datasets.diff.words import headline
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.workspace.git.moments import ChangedFile, ChangeKind, Moment
from lora_pipeline.workspace.layout import Scope


class DatasetChange(msgspec.Struct, frozen=True):
    """A manifest that came, went or changed.

    Attributes:
        scope: Where it stands.
        view: The comparison.
    """

    scope: Scope
    view: DiffView


class LoraChange(msgspec.Struct, frozen=True):
    """A LoRA about which anything changed: itself, its grids, or what people said of them.

    Attributes:
        scope: Where it stands.
        lora_id: Its id.
        sentences: What became of its record.
        decisions: What the gate says now of the releases in question; empty when the newer
            side is not what is checked out.
    """

    scope: Scope
    lora_id: str
    sentences: tuple[str, ...]
    decisions: tuple[Mapping[str, Any], ...]


class GridChange(msgspec.Struct, frozen=True):
    """An evaluation that came or changed.

    Attributes:
        evaluation: Its record.
        kind: What became of it.
        sheet: The contact sheet, a WebP; empty when there is none.
    """

    evaluation: Evaluation
    kind: ChangeKind
    sheet: bytes


class AssetChanges(msgspec.Struct, frozen=True):
    """How many assets came, went or changed, and what was decided about them.

    Attributes:
        counts: By what became of them.
        decisions: How many were approved, rejected, withdrawn, …; words and numbers.
    """

    counts: Mapping[ChangeKind, int]
    decisions: Mapping[str, int]


class ReportView(msgspec.Struct, frozen=True):
    """Everything that a reviewer of a pull request should see.

    Attributes:
        older: The older side.
        newer: The newer side.
        rules: Files that say what is asked of others: gate policies, settings, suites, projects.
        datasets: Manifests.
        loras: LoRAs, with the gate's answer.
        grids: Evaluations.
        reviews: Verdicts that came.
        assets: What became of assets.
        others: How many records of further kinds changed.
        unreadable: Records that could not be read, with the reason.
        findings: What ``lora validate`` finds; None when the newer side is not checked out.
        uncommitted: How many files of the work tree, which gate and validation look at, are
            not as the newer commit has them.
    """

    older: Moment
    newer: Moment
    rules: tuple[ChangedFile, ...]
    datasets: tuple[DatasetChange, ...]
    loras: tuple[LoraChange, ...]
    grids: tuple[GridChange, ...]
    reviews: tuple[Review, ...]
    assets: AssetChanges
    others: Mapping[str, int]
    unreadable: tuple[str, ...]
    findings: Sequence[Mapping[str, Any]] | None
    uncommitted: int = 0

    @property
    def errors(self) -> list[Mapping[str, Any]]:
        """Findings that make a pull request wrong."""
        return [one for one in self.findings or () if one["severity"] == "error"]

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the pipeline changed."""
        return not any(
            (self.rules, self.datasets, self.loras, self.grids, self.reviews, self.unreadable,
             self.assets.counts, self.others)
        )  # fmt: skip

    def headline(self) -> str:
        """Return the report in one line."""
        parts = [
            _counted(len(self.datasets), "dataset"),
            _counted(len(self.loras), "LoRA"),
            _counted(len(self.grids), "grid"),
            _counted(len(self.reviews), "verdict"),
            _counted(sum(self.assets.counts.values()), "asset"),
        ]
        told = " · ".join(part for part in parts if part) or "no record of art changed"
        return "nothing of the pipeline changed" if self.is_empty else told

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "older": {"label": self.older.label, "commit": self.older.commit or None},
            "newer": {"label": self.newer.label, "commit": self.newer.commit or None},
            "headline": self.headline(),
            "rules": [{"file": one.name, "kind": one.kind} for one in self.rules],
            "datasets": [
                {
                    "datasetId": one.view.name,
                    "scope": str(one.scope),
                    "headline": headline(one.view),
                    "summary": one.view.difference.summary(),
                }
                for one in self.datasets
            ],
            "loras": [
                {
                    "loraId": one.lora_id,
                    "scope": str(one.scope),
                    "changes": list(one.sentences),
                    "decisions": [dict(decision) for decision in one.decisions],
                }
                for one in self.loras
            ],
            "evaluations": [
                {
                    "evaluationId": one.evaluation.id,
                    "loraId": one.evaluation.lora_id,
                    "releaseId": one.evaluation.release_id,
                    "status": one.evaluation.status,
                    "kind": one.kind,
                    "cells": len(one.evaluation.cells),
                    "sheet": bool(one.sheet),
                }
                for one in self.grids
            ],
            "reviews": [
                {
                    "loraId": one.lora_id,
                    "releaseId": one.release_id,
                    "reviewer": one.reviewer,
                    "verdict": one.verdict,
                    "comment": one.comment,
                }
                for one in self.reviews
            ],
            "assets": {
                "counts": dict(self.assets.counts),
                "decisions": dict(self.assets.decisions),
            },
            "others": dict(self.others),
            "unreadable": list(self.unreadable),
            "uncommitted": self.uncommitted,
            "findings": None if self.findings is None else [dict(one) for one in self.findings],
        }  # fmt: skip


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
