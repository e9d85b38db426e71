"""lora store push and pull, and what the other store commands say of the remote store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, counted, size_text
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("objects", nargs=-1, metavar="[OBJECT]...")
@writing_options
@click.pass_obj
def push(session: Session, objects: tuple[str, ...]) -> None:
    """Bring objects to the remote store.

    OBJECT is a digest, the id of a record that names objects, or LORA/RELEASE; without one it
    is all that records need. Reads store.remote and the store; sends what the remote store
    lacks. What stands there is never replaced, and what was sent is proven there. Exits with 0,
    with 1 when other bytes stand there under the name of an object, with 3 when the service
    refuses or does not answer.

    \b
    lora store push --dry-run
    lora store push ui_icons/r7
    """
    from lora_pipeline.operations.workspace.store_remote import push_objects

    session.run(push_objects, _push_text, objects=objects, project=session.project)


@click.command()
@click.argument("objects", nargs=-1, metavar="[OBJECT]...")
@click.option("--active", is_flag=True, help="The weights of every active release.")
@writing_options
@click.pass_obj
def pull(session: Session, objects: tuple[str, ...], active: bool) -> None:
    """Fetch objects from the remote store.

    OBJECT is a digest, the id of a record that names objects, or LORA/RELEASE; without one it
    is all that records need. Reads store.remote; fetches what is not here. An object gets its
    place when its digest is right; a download that was cut off goes on where it ended. Exits
    with 0, with 3 when an object is not there or is damaged, and when the service refuses or
    does not answer.

    \b
    lora store pull --active
    lora store pull ui_icons/r7
    """
    from lora_pipeline.operations.workspace.store_remote import pull_objects

    session.run(pull_objects, _pull_text, objects=objects, active=active, project=session.project)


def remote_rows(remote: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what ``lora store status`` says of the remote store."""
    rows = [("remote", str(remote["address"]))]
    if "error" in remote:
        return rows
    size = size_text(remote["bytes"])
    rows = [("remote", f"{remote['address']} · {counted(remote['objects'], 'object')} · {size}")]
    for key, label, words in (
        ("toPush", "to push", "here and not there"),
        ("toPull", "to pull", "there and not here"),
    ):
        if remote[key]:
            rows.append((label, f"{counted(remote[key], 'object')} {words}"))
    if remote["nowhereCount"]:
        first = remote["nowhere"][0]
        example = f"such as {first['sha256'][:12]}… of {first['namedBy']}"
        count = counted(remote["nowhereCount"], "object")
        rows.append(("warning", f"{count} neither here nor there, {example}"))
    rows += [("fail", f"{one[:12]}… has another length there") for one in remote["wrongLength"]]
    return rows


def remote_verify_text(result: Result) -> Report:
    """Return what ``lora store verify --remote`` says."""
    damaged = result.data["damaged"]
    rows = [("fail", f"{one['sha256'][:12]}… holds {one['found'][:12]}…") for one in damaged]
    if result.data["missingCount"]:
        count = counted(result.data["missingCount"], "object")
        rows.append(("not there", f"{count} that records name"))
    headline = result.refusal.message if result.refusal else result.reasoning
    return Report(headline=f"{headline} · {size_text(result.data['bytes'])} read", rows=rows)


def remote_gc_text(result: Result) -> Report:
    """Return what ``lora store gc --remote`` says."""
    data = result.data
    headline = f"refused · {result.refusal.message}" if result.refusal else result.reasoning
    size = f" · {size_text(data['bytes'])}" if data["unnamed"] and not result.refusal else ""
    rows = [("remote", str(data["root"]))]
    if data["keptAsYoung"]:
        rows.append(("kept", f"{counted(data['keptAsYoung'], 'object')} as too young to tell"))
    return Report(headline=f"{headline}{size}", rows=rows, lines=_names(data["unnamed"]))


def _push_text(result: Result) -> Report:
    data = result.data
    rows = [("remote", str(data["remote"]))]
    if data["sent"] and not result.dry_run:
        proofs = [
            (data["provenByChecksum"], "by the service's checksum"),
            (data["provenByReading"], "by reading back"),
        ]
        rows.append(("proven", " · ".join(f"{number} {how}" for number, how in proofs if number)))
    if data["alreadyThere"]:
        rows.append(("there", counted(data["alreadyThere"], "object")))
    rows += _absent(data["notHere"], data["notHereCount"], "not here")
    rows += [("fail", f"{one} holds other bytes there") for one in data["differsThere"]]
    size = f" · {size_text(data['bytes'])}" if data["sent"] else ""
    headline = f"refused · {result.refusal.message}" if result.refusal else result.reasoning + size
    return Report(headline=headline, rows=rows)


def _pull_text(result: Result) -> Report:
    data = result.data
    rows = [("remote", str(data["remote"]))]
    if data["alreadyHere"]:
        rows.append(("here", counted(data["alreadyHere"], "object")))
    rows += _absent(data["notThere"], data["notThereCount"], "not there")
    size = f" · {size_text(data['bytes'])}" if data["fetched"] else ""
    return Report(headline=result.reasoning + size, rows=rows)


def _absent(named: list[dict[str, str]], count: int, label: str) -> list[tuple[str, str]]:
    if not count:
        return []
    first = named[0]
    of = f" of {first['namedBy']}" if first["namedBy"] else ""
    return [(label, f"{counted(count, 'object')}, such as {first['sha256'][:12]}…{of}")]


def _names(digests: list[str]) -> list[str]:
    shown = [f"  {digest}" for digest in digests[:10]]
    return [*shown, f"  … and {len(digests) - 10} more"] if len(digests) > 10 else shown
