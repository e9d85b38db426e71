"""Every trainer with a program that misbehaves (rows EXT and PRC of the list of faults).

Each trainer plans a run, its program is exchanged for ``misbehaving_program.py``, and the run is
supervised as always: a real process that does every wrong thing that was seen or can be thought
of. What counts is what stands on disk afterwards, and never what the program said.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from lora_pipeline.foundation.errors import WeightsRefusedError
from lora_pipeline.operations.releases.release_register import register_release
from lora_pipeline.training.hosted.interface import HostedTrainer
from lora_pipeline.training.outcome import Outcome, verify_outputs
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.runs.log import LOG_FILE
from lora_pipeline.training.supervision import supervise
from lora_pipeline.training.trainers.interface import Collected, CollectedFile
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.training.weights.inspection import inspect_weights, require_usable
from tests.contract.test_trainers import TAKES, request_for
from tests.support import misbehaving_program
from tests.support.misbehaving_program import BAD_BYTES, SECRET, bad_bytes
from tests.support.trainer_requests import DIGEST, settings_with
from tests.support.training_builders import LORA, fake_base, training_studio
from tests.support.workspace_builders import tree_digest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and links of POSIX")
PROGRAM = Path(misbehaving_program.__file__)
LOCAL = sorted(name for name, one in TRAINERS.items() if one.starts_program)
HOSTED = sorted(name for name, one in TRAINERS.items() if isinstance(one, HostedTrainer))
# Trainers whose program leaves something else than the file that is expected in the end.
ZIPPED = {"mflux"}
# One adapter is enough for what happens between us and the process, whatever it trains.
ONE = "kohya_ss"


class Stage:
    """A trainer's plan with the misbehaving program in it."""

    def __init__(self, name: str, folder: Path) -> None:
        models = {f"trainers__{one}__modelsRoot": "/models" for one in ("ai_toolkit_server",)}
        settings = settings_with(folder / "ws", **models)
        request = request_for(name, folder)
        self.trainer = TRAINERS[name]
        self.name, self.run = name, request.run_folder
        plan = self.trainer.prepare(request, settings, "1.2.3")
        expected = self.run / plan.expected_output
        self.zipped = name in ZIPPED
        self.target = expected
        if self.zipped:
            zip_name = f"{plan.total_steps:07d}_checkpoint.zip"
            self.target = self.run / "mflux" / "checkpoints" / zip_name
        self.plan = replace(plan, cwd=self.run)
        self.base = CheckpointOnDisk("tiny", "sd15", fake_base(folder / "tiny"), DIGEST)
        self.outside = folder

    def runs(self, mode: str, *, idle_timeout_s: float | None = 60) -> Outcome:
        """Run the program in one of its ways and return what came of it."""
        layout = "zip" if self.zipped else "file"
        argv = (sys.executable, "-I", "-S", str(PROGRAM), mode, layout, str(self.target))
        return supervise(
            replace(self.plan, argv=argv), self.trainer, self.base, self.run,
            events=lambda _: None, idle_timeout_s=idle_timeout_s,
        )  # fmt: skip

    @property
    def log(self) -> str:
        """What is kept of the program's output."""
        return (self.run / LOG_FILE).read_text(encoding="utf-8")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(ONE, tmp_path)


def exists(pid: int) -> bool:
    """Return whether a process runs; one that nobody waited for has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def ends(pid: int) -> bool:
    """Return whether a process that was killed is gone within what a busy machine needs."""
    deadline = time.monotonic() + 20
    while exists(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def failed(outcome: Outcome) -> str:
    """Assert that nothing came of a run, and return why."""
    assert outcome.final is None
    assert outcome.error is not None
    assert "\n" not in outcome.error.message
    return outcome.error.code


# ---- every trainer


@pytest.mark.parametrize("name", LOCAL)
def test_every_program_that_works_well_brings_weights(name: str, tmp_path: Path) -> None:
    outcome = Stage(name, tmp_path).runs("well")

    assert outcome.error is None
    assert outcome.final is not None
    assert outcome.final.modules[0].path == misbehaving_program.MODULE


# Of each kind one; all of them go through one adapter below, and through the file itself.
@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("mode", ["nan", "half", "pickle", "other_model", "huge_header"])
def test_ext_06_every_trainer_refuses_weights_that_cannot_be_used(
    name: str, mode: str, tmp_path: Path
) -> None:
    code = failed(Stage(name, tmp_path).runs(mode))

    assert code == "weights_refused"


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("mode", ["nothing", "old_file", "elsewhere", "folder", "link_out"])
def test_ext_06_every_trainer_takes_only_what_its_run_wrote_in_its_folder(
    name: str, mode: str, tmp_path: Path
) -> None:
    code = failed(Stage(name, tmp_path).runs(mode))

    assert code in ("no_output", "unsafe_path")


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("well_but_fails", "trainer_failed"),
        ("out_of_memory", "out_of_memory"),
        ("killed", "killed"),
    ],
)
def test_prc_19_every_trainer_names_the_cause_of_a_failure(
    name: str, mode: str, code: str, tmp_path: Path
) -> None:
    assert failed(Stage(name, tmp_path).runs(mode)) == code


@pytest.mark.parametrize("mode", BAD_BYTES)
def test_ext_06_weights_from_elsewhere_pass_the_same_checks(mode: str, tmp_path: Path) -> None:
    """``manual`` and the services bring files: each way of being wrong has its rule."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(bad_bytes(mode))
    base = CheckpointOnDisk("tiny", "sd15", fake_base(tmp_path / "tiny"), DIGEST)

    with pytest.raises(WeightsRefusedError) as caught:
        require_usable(inspect_weights(path), base)

    assert caught.value.rule in BAD_BYTES[mode]
    assert caught.value.to_dict()["rule"] == caught.value.rule
    found = verify_outputs(Collected(CollectedFile(path)), tmp_path, base, 0)
    assert found.error is not None
    assert found.error.code == "weights_refused"


def test_ext_06_manual_refuses_them_and_writes_nothing(tmp_path: Path) -> None:
    workspace = training_studio(tmp_path / "studio", git=False)
    before = tree_digest(workspace.root)

    for mode in BAD_BYTES:
        path = tmp_path / f"{mode}.safetensors"
        path.write_bytes(bad_bytes(mode))
        with pytest.raises(WeightsRefusedError):
            register_release(workspace, LORA, str(path))

    assert tree_digest(workspace.root) == before


# ---- what a program leaves behind


@pytest.mark.parametrize("mode", ["pipe", "link_device", "link_loop", "folder_out"])
def test_ext_06_what_is_no_file_of_the_run_is_never_opened(mode: str, stage: Stage) -> None:
    assert failed(stage.runs(mode)) in ("no_output", "unsafe_path", "weights_refused")


def test_ext_06_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.safetensors")

    with pytest.raises(WeightsRefusedError) as caught:
        inspect_weights(tmp_path / "w.safetensors")

    assert caught.value.rule == "no_file"


def test_ext_06_bad_weights_cost_no_memory(tmp_path: Path) -> None:
    """A header that announces everything is refused before a byte of it is held."""
    path = tmp_path / "w.safetensors"
    with path.open("wb") as stream:
        stream.write((12 * 1024**3).to_bytes(8, "little") + b"{")
        stream.truncate(13 * 1024**3)  # a hole: it takes no room on the disk
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(WeightsRefusedError):
        inspect_weights(path)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


# ---- how a program ends


def test_prc_18_a_program_that_asks_gets_no_answer(stage: Stage) -> None:
    outcome = stage.runs("asks")

    assert failed(outcome) == "trainer_failed"
    assert "Overwrite? [y/N]" in stage.log


def test_prc_19_a_lost_device_is_named(stage: Stage) -> None:
    assert failed(stage.runs("gpu_lost")) == "no_gpu"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_prc_05_a_full_disk_is_named(stage: Stage) -> None:
    outcome = stage.runs("disk_full")

    assert failed(outcome) == "disk_full"
    assert outcome.error is not None
    assert "free space" in outcome.error.hint


@pytest.mark.parametrize(
    "mode",
    ["hangs", pytest.param("will_not_stop", marks=pytest.mark.slow)],  # it is given 10 s
)
def test_prc_02_a_program_that_says_nothing_and_listens_to_nothing_is_stopped(
    mode: str, stage: Stage
) -> None:
    outcome = stage.runs(mode, idle_timeout_s=0.5)

    assert failed(outcome) == "program_timed_out"
    assert outcome.status is None


def test_prc_15_what_a_program_left_running_ends_with_it(stage: Stage) -> None:
    outcome = stage.runs("leaves_a_child")

    assert outcome.error is None
    assert outcome.final is not None
    assert ends(int((stage.run / "child.pid").read_text()))


# ---- what a program prints


def test_ext_08_a_token_in_the_output_is_kept_nowhere(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MY_COMPANY_KEY"):
        monkeypatch.setenv(variable, "value-of-ours-0123456789")

    outcome = stage.runs("tells_secrets")

    assert outcome.error is None
    kept = b"".join(path.read_bytes() for path in stage.run.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept
    assert "using token [hidden]" in stage.log


def test_ext_09_the_program_gets_none_of_our_secrets(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "WANDB_API_KEY", "MY_COMPANY_KEY"):
        monkeypatch.setenv(variable, "value-of-ours-0123456789")

    stage.runs("tells_secrets")

    seen = [line for line in stage.log.splitlines() if line.startswith("env ")]
    assert any(line.startswith("env PATH=") for line in seen)
    assert not any("value-of-ours" in line for line in seen)
    assert not any("TOKEN" in line or "KEY" in line for line in seen)


def test_ext_08_a_line_without_end_is_kept_in_bounds(stage: Stage) -> None:
    outcome = stage.runs("one_line")

    assert outcome.error is None
    assert (stage.run / LOG_FILE).stat().st_size < 6_000_000


def test_ext_08_bytes_that_are_no_text_steer_nothing(stage: Stage) -> None:
    outcome = stage.runs("garbage")

    assert outcome.error is None
    assert "\x1b]0;owned" not in stage.log


@pytest.mark.parametrize("name", LOCAL)
def test_ext_06_no_word_of_a_program_is_recorded_unseen(name: str, tmp_path: Path) -> None:
    """Steps beyond the plan, below zero, losses that are no number: the record stays true JSON."""
    stage = Stage(name, tmp_path)

    outcome = stage.runs("lies_about_steps")

    assert outcome.error is None
    assert 0 <= outcome.steps_done <= stage.plan.total_steps
    json.dumps({"loss": outcome.final_loss}, allow_nan=False)
    for line in (stage.run / "events.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in the events"))


# ---- words of people


def texts_in(plan: Plan) -> set[str]:
    """Return every text that a plan's files hold, read by the readers of their formats."""
    found: set[str] = set()

    def gather(value: object) -> None:
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, dict):
            gather(list(value.items()))
        elif isinstance(value, list | tuple):
            for one in value:
                gather(one)

    readers: dict[str, Callable[[str], object]] = {
        ".json": json.loads, ".toml": tomllib.loads, ".yaml": yaml.safe_load, ".txt": str.split,
    }  # fmt: skip
    for file in plan.files:
        if file.path.endswith(".txt"):
            found |= set(file.content.splitlines())
        gather(readers[Path(file.path).suffix](file.content))
    return found


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize(
    "text",
    [
        "$(touch x)", "; touch x #", "a && touch x", "%PATH% !x! ^&", "@file", "'\"\\", "a: [b",
        "!!python/object/apply:os.system ['touch x']", "# no comment", '"""', "=cmd|'/C calc'!A0",
    ],
)  # fmt: skip
def test_ext_01_03_words_of_people_are_data_in_every_file_of_a_plan(
    name: str, text: str, tmp_path: Path
) -> None:
    request = request_for(
        name, tmp_path, recipe={"sample_every": 2, "sample_prompts": (text,)}, captions=[text]
    )
    settings = settings_with(tmp_path / "ws")
    plan = TRAINERS[name].prepare(request, settings, "1.2.3")

    assert all(text not in word for word in plan.argv)
    if name not in ZIPPED:  # mflux reads captions from the staged files alone
        assert any(text in one for one in texts_in(plan))


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("text", ["--lr 9", "-x", "@response", "a icon --n bad --w 64"])
def test_ext_02_no_word_of_people_is_an_option(name: str, text: str, tmp_path: Path) -> None:
    request = request_for(name, tmp_path, captions=[text])
    plan = TRAINERS[name].prepare(
        replace(request, trigger_word=text), settings_with(tmp_path / "ws"), "1.2.3"
    )

    assert all(text not in word for word in plan.argv)


def test_every_kind_of_trainer_is_here() -> None:
    assert set(LOCAL) | set(HOSTED) | {"manual"} == set(TRAINERS)
    assert set(LOCAL) <= set(TAKES)
