"""A plan as any machine would make it: words in braces for the places of one.

``{run}`` is the private folder of the run, ``{images}`` the staged images, ``{models}`` where base
models are, ``{trainer}`` the trainer's checkout, ``{python}`` its Python, ``{package}`` this
program, ``{workspace}`` and ``{home}`` what they say, and ``{trainers.…}`` a setting that names a
place.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.workspace.settings import Settings

_PACKAGE = Path(__file__).resolve().parents[2]


class Places:
    """Texts without the places of one machine.

    Args:
        places: Place to the word that stands for it; longer places are looked for first.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        known = {}
        for place, word in places.items():
            if len(place) > 1:
                known[place] = word
                # As it stands in JSON and TOML, and with the slashes of every system.
                known[place.replace("\\", "\\\\")] = word
                known[place.replace("\\", "/")] = word
        self._known = sorted(known.items(), key=lambda one: (-len(one[0]), one[0]))

    def also(self, places: Mapping[str, str]) -> Places:
        """Return these and others, which win."""
        return Places({**self._places, **places})

    def without(self, text: str) -> str:
        """Return a text with words for places."""
        for place, word in self._known:
            text = text.replace(place, word)
        return text


def anywhere(request: TrainingRequest) -> TrainingRequest:
    """Return a request that names no place of this machine but files of the user's own."""
    models, base = Path("{models}"), request.checkpoint
    return replace(
        request,
        run_folder=Path("{run}"),
        data=replace(request.data, folder=Path("{images}")),
        checkpoint=replace(
            base,
            path=models / base.path.name,
            companions={name: models / path.name for name, path in base.companions.items()},
            training_adapter=base.training_adapter and models / base.training_adapter.name,
        ),
    )


def places_of_program() -> dict[str, str]:
    """Return where this program and its Python stand, and the words for it."""
    return {str(_PACKAGE): "{package}", sys.executable: "{python}"}


def places_of_settings(settings: Settings, trainer: str) -> dict[str, str]:
    """Return the places that a trainer's settings name, each with the word for it."""
    own = f"trainers.{trainer}."
    return {
        str(one.value): "{" + one.setting.key + "}"
        for one in settings.explain()
        if one.setting.key.startswith(own) and is_place(one.value)
    }


def is_place(value: object) -> bool:
    """Return whether a setting names a place of the machine."""
    return isinstance(value, str) and (value.startswith("~") or Path(value).is_absolute())


def without_places(plan: Plan, places: Places) -> Plan:
    """Return a plan with words for places: in its command, its environment and its files."""
    cwd = str(plan.cwd)
    if plan.cwd.is_absolute():
        places = places.also({cwd: "{trainer}"})
    return replace(
        plan,
        argv=_command(plan.argv, places),
        cwd=Path(places.without(cwd)),
        environment={name: places.without(one) for name, one in plan.environment.items()},
        files=tuple(replace(one, content=places.without(one.content)) for one in plan.files),
        warnings=tuple(map(places.without, plan.warnings)),
    )


def _command(argv: tuple[str, ...], places: Places) -> tuple[str, ...]:
    if not argv:
        return ()
    program = Path(argv[0])
    # Where a program stands is the machine's own affair; which one it is stands in the version.
    named = program.name if program.is_absolute() else argv[0]
    first = "{python}" if re.fullmatch(r"python[\d.]*(\.exe)?", named) else named
    return (first, *(places.without(word) for word in argv[1:]))
