"""The order of a blind page, kept on the machine that made it until the answers are in."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from lora_pipeline.evaluation.blind.records import BlindPair
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import FileMissingError, RecordInvalidError
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.workspace.root import Workspace


class Order(msgspec.Struct, frozen=True):
    """Which side is which.

    Attributes:
        plan_id: The plan that committed to it.
        nonce: What keeps it from being guessed from the commitment.
        pairs: The pairs, in the order of the page.
    """

    plan_id: str
    nonce: str
    pairs: tuple[BlindPair, ...]


def keep_order(workspace: Workspace, order: Order) -> None:
    """Write an order where only this account reads it, outside of Git."""
    path = _path(workspace, order.plan_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):  # a file system without permissions has none to give
        path.parent.chmod(0o700)
    document = {
        "planId": order.plan_id,
        "nonce": order.nonce,
        "pairs": [pair.to_dict() for pair in order.pairs],
    }
    with disk_refusals():
        write_atomic(path, strict_json.dumps(document, one_line_each=("pairs",)))


def kept_order(workspace: Workspace, plan_id: str) -> Order:
    """Return the order of a page.

    Raises:
        FileMissingError: When the page was made on another machine.
        RecordInvalidError: When the file is not what was written.
    """
    path = _path(workspace, plan_id)
    if not path.is_file():
        raise FileMissingError(
            f"the order of the page {plan_id} is not on this machine",
            hint="record the answers on the machine that made the page",
        )
    document = strict_json.load(path)
    try:
        pairs = tuple(BlindPair.from_dict(one) for one in document["pairs"])
        return Order(str(document["planId"]), str(document["nonce"]), pairs)
    except (KeyError, TypeError) as error:
        raise RecordInvalidError(f"{path.name} is no order of a page") from error


def _path(workspace: Workspace, plan_id: str) -> Path:
    return workspace.runtime / "blind" / f"{plan_id}.json"
