"""Finding a run by its id, and saying what state it is in at this moment."""

from __future__ import annotations

from lora_pipeline.operations.training.run_states import UNDER_WAY, WAITING
from lora_pipeline.releases.lookup import ScopeName, scope_of
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive, is_here, run_folder
from lora_pipeline.training.runs.ticket import read_ticket
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def find_run(
    workspace: Workspace, run: str, *, project: str | None, scope: ScopeName
) -> Loaded[Run]:
    """Return the run that an id, or the beginning of one, names.

    Raises:
        RecordNotFoundError: When there is none.
    """
    places = run_places(workspace, project, scope)
    wanted = run.upper()
    found = [
        (place, record_id)
        for place in places
        for record_id in workspace.records.ids(Run, place)
        if len(wanted) >= 4 and (record_id.startswith(wanted) or record_id.endswith(wanted))
    ]
    if len(found) == 1:
        return workspace.records.read(Run, *found[0])
    return workspace.records.find(Run, places, wanted)


def run_places(workspace: Workspace, project: str | None, scope: ScopeName) -> list[Scope]:
    """Return where runs are looked for."""
    if scope == "project" and not project and not workspace.records.project_ids():
        return [scope_of(workspace, project, "baseline")]
    return workspace.visible(scope_of(workspace, project, scope))


def state_now(workspace: Workspace, run: Run) -> str:
    """Return the state of a run as it is: ``interrupted`` when its process is gone.

    A run that waits in the queue of this machine has no process yet. One that was started on
    another machine is what its record says.
    """
    if run.state not in UNDER_WAY or not is_here(workspace, run.id):
        return run.state
    if is_alive(workspace, run.id):
        return run.state
    waits = run.state in WAITING and read_ticket(run_folder(workspace, run.id)) is not None
    return run.state if waits else "interrupted"
