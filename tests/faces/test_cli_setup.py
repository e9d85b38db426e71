"""``lora setup``: real environments, a real pip and a real Git, and no network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from lora_pipeline.training.trainers.kohya.home import MODULES
from tests.support.fake_ai_toolkit_server import TOKEN, running_toolkit
from tests.support.fake_trainer_programs import (
    make_ai_toolkit,
    make_checkout,
    make_mflux,
    make_sd_scripts,
)
from tests.support.wheels import make_wheel
from tests.support.workspace_builders import (
    commit_all,
    git,
    invoke,
    make_repository,
    make_workspace,
    tree_digest,
)

LOCAL = "config/local.json"
NEW_PYTHON = sys.version_info >= (3, 13)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_workspace(tmp_path / "studio", git=False)
    return tmp_path / "studio"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index in a folder, with all that sd-scripts imports."""
    folder = tmp_path / "wheels"
    for name in (*MODULES, "torchvision"):
        make_wheel(folder, name.replace("cv2", "opencv"), files={f"{name}/__init__.py": ""})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a package index nor GitHub."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    github(monkeypatch, tmp_path, tmp_path / "nowhere")


def github(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repository: Path) -> None:
    """Let Git find the trainers in a folder instead of at GitHub."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text(
        f'[url "file://{repository}"]\n\tinsteadOf = https://github.com/kohya-ss/sd-scripts\n'
        "\tinsteadOf = https://github.com/ostris/ai-toolkit\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("HOME", str(home))


def requirements(checkout: Path) -> Path:
    names = [name.replace("cv2", "opencv") for name in MODULES if name != "torch"]
    (checkout / "requirements.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return checkout


def local(root: Path) -> dict[str, object]:
    loaded: dict[str, object] = json.loads((root / LOCAL).read_bytes())
    return loaded


def left_of(root: Path, trainer: str) -> list[str]:
    folder = root / ".lora" / "trainers" / trainer
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("lock"))


def test_a_checkout_with_an_environment_is_recorded_and_used(root: Path, tmp_path: Path) -> None:
    (root / LOCAL).write_text('{"trainers": {"diffusers": {"device": "cpu"}}}', encoding="utf-8")
    scripts = make_sd_scripts(tmp_path / "there")
    answer = invoke(["setup", "kohya_ss", "--source", str(scripts.home), "--json"], root)
    assert answer.exit_code == 0, answer.stderr
    assert answer.document["data"]["ready"] is True
    assert answer.document["written"] == [LOCAL]
    assert local(root) == {
        "trainers": {
            "diffusers": {"device": "cpu"},
            "kohya_ss": {"home": str(scripts.home), "python": str(scripts.python)},
        }
    }
    again = invoke(["setup", "kohya_ss", "--json"], root)
    assert "nothing to do" in again.document["reasoning"]
    assert again.document["written"] == []


def test_the_checkout_of_kohya_ss_is_taken_by_its_submodule(root: Path, tmp_path: Path) -> None:
    scripts = make_sd_scripts(tmp_path / "kohya_ss")
    answer = invoke(["setup", "kohya_ss", "--source", str(tmp_path / "kohya_ss"), "--json"], root)
    assert answer.exit_code == 0, answer.stderr
    assert answer.document["data"]["where"] == str(scripts.home)


def test_an_empty_submodule_is_told(root: Path, tmp_path: Path) -> None:
    (tmp_path / "kohya_ss" / "sd-scripts").mkdir(parents=True)
    answer = invoke(["setup", "kohya_ss", "--source", str(tmp_path / "kohya_ss"), "--json"], root)
    assert answer.exit_code == 3
    assert answer.error["code"] == "argument_invalid"
    assert "submodule update --init" in answer.error["hint"]
    assert not (root / LOCAL).exists()


def test_a_folder_that_is_no_checkout_is_refused_and_nothing_is_written(
    root: Path, tmp_path: Path
) -> None:
    before = tree_digest(root)
    answer = invoke(["setup", "kohya_ss", "--source", str(tmp_path), "--json"], root)
    assert answer.exit_code == 3
    assert "train_network.py" in answer.error["message"]
    assert tree_digest(root) == before


@pytest.mark.skipif(NEW_PYTHON, reason="sd-scripts needs Python 3.12 or older")
def test_an_environment_of_its_own_is_made_for_a_checkout_without_one(
    root: Path, tmp_path: Path, wheels: Path
) -> None:
    checkout = requirements(make_checkout(tmp_path / "there"))
    answer = invoke(["setup", "kohya_ss", "--source", str(checkout), "--json"], root)
    assert answer.exit_code == 0, answer.stderr
    own = root / ".lora" / "trainers" / "kohya_ss"
    assert answer.document["data"]["ready"] is True
    assert local(root)["trainers"] == {
        "kohya_ss": {"home": str(checkout), "python": str(own / "venv" / "bin" / "python")}
    }
    assert json.loads((own / "installed.json").read_bytes())["scripts"] == str(checkout)


@pytest.mark.skipif(NEW_PYTHON, reason="sd-scripts needs Python 3.12 or older")
def test_without_a_source_sd_scripts_is_fetched_and_its_commit_is_the_version(
    root: Path, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = requirements(make_checkout(tmp_path / "upstream"))
    for folder in ("library", "networks"):
        (upstream / folder / "__init__.py").touch()
    make_repository(upstream)
    commit_all(upstream, "Start")
    github(monkeypatch, tmp_path, upstream)
    answer = invoke(["setup", "kohya_ss", "--json"], root)
    assert answer.exit_code == 0, answer.stderr
    commit = git(upstream, "rev-parse", "HEAD").strip()
    assert answer.document["data"]["version"] == f"git:{commit[:12]}"
    assert left_of(root, "kohya_ss") == ["installed.json", "sd-scripts", "venv"]


def test_without_a_network_kohya_ss_is_refused_and_nothing_is_half_made(
    root: Path, no_network: None
) -> None:
    answer = invoke(["setup", "kohya_ss", "--json"], root)
    assert answer.exit_code == 3
    assert answer.error["code"] == "trainer_unavailable"
    assert "cannot reach https://github.com/kohya-ss/sd-scripts" in answer.error["message"]
    assert "--source PATH" in answer.error["hint"]
    assert left_of(root, "kohya_ss") == []
    assert not (root / LOCAL).exists()


@pytest.mark.skipif(NEW_PYTHON, reason="sd-scripts needs Python 3.12 or older")
def test_without_a_package_index_the_environment_is_taken_away_again(
    root: Path, tmp_path: Path, no_network: None
) -> None:
    checkout = make_checkout(tmp_path / "there")
    answer = invoke(["setup", "kohya_ss", "--source", str(checkout), "--json"], root)
    assert answer.exit_code == 3
    assert answer.error["message"] == "cannot reach the package index, nothing was installed"
    assert left_of(root, "kohya_ss") == []
    assert not (root / LOCAL).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="mflux does not run there")
def test_without_a_network_mflux_is_refused_and_nothing_is_half_made(
    root: Path, no_network: None
) -> None:
    answer = invoke(["setup", "mflux", "--json"], root)
    assert answer.exit_code == 3
    assert answer.error["code"] == "trainer_unavailable"
    assert left_of(root, "mflux") == []


def test_an_mflux_that_is_there_is_recorded_by_its_python(root: Path, tmp_path: Path) -> None:
    program = make_mflux(tmp_path / "there").program
    python = program.with_name("python")
    answer = invoke(["setup", "mflux", "--python", str(python), "--json"], root)
    assert answer.exit_code == 0, answer.stderr
    assert answer.document["data"]["version"] == "0.24.0"
    assert local(root) == {"trainers": {"mflux": {"program": str(program)}}}


def test_a_checkout_of_ai_toolkit_is_recorded_with_its_python(root: Path, tmp_path: Path) -> None:
    home = make_ai_toolkit(tmp_path / "there")
    answer = invoke(["setup", "ai_toolkit", "--source", str(home), "--json"], root)
    assert answer.exit_code == 0, answer.stderr
    assert answer.document["data"]["version"] == "0.12.26"
    python = str(home / "venv" / "bin" / "python")
    assert local(root) == {"trainers": {"ai_toolkit": {"home": str(home), "python": python}}}


def test_a_folder_that_is_no_ai_toolkit_is_refused(root: Path, tmp_path: Path) -> None:
    answer = invoke(["setup", "ai_toolkit", "--source", str(tmp_path), "--json"], root)
    assert answer.exit_code == 3
    assert "no ai-toolkit checkout" in answer.error["message"]
    assert not (root / LOCAL).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no network is simulated by a proxy")
def test_without_a_network_ai_toolkit_is_refused_and_nothing_is_half_made(
    root: Path, no_network: None
) -> None:
    answer = invoke(["setup", "ai_toolkit", "--json"], root)
    assert answer.exit_code == 3
    assert answer.error["code"] == "trainer_unavailable"
    assert "--source" in answer.error["hint"]
    assert left_of(root, "ai_toolkit") == []


def test_a_server_is_asked_whether_it_takes_our_token(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx2")
    (root / "config").mkdir(exist_ok=True)
    with running_toolkit() as toolkit:
        settings = {"trainers": {"ai_toolkit_server": {"baseUrl": toolkit.address}}}
        (root / LOCAL).write_text(json.dumps(settings))
        monkeypatch.setenv("AI_TOOLKIT_AUTH", "wrong")
        refused = invoke(["setup", "ai_toolkit_server", "--json"], root)
        monkeypatch.setenv("AI_TOOLKIT_AUTH", TOKEN)
        taken = invoke(["setup", "ai_toolkit_server", "--json"], root)
    assert refused.exit_code == 1
    assert "401" in refused.error["message"]
    assert taken.exit_code == 0, taken.stderr


def test_a_dry_run_says_the_steps_and_makes_nothing(root: Path, tmp_path: Path) -> None:
    before = tree_digest(root)
    answer = invoke(["setup", "kohya_ss", "--dry-run", "--json"], root)
    assert answer.exit_code == 0, answer.stderr
    steps = answer.document["data"]["steps"]
    assert steps[0] == "git clone https://github.com/kohya-ss/sd-scripts"
    assert "pip install torch torchvision" in steps
    assert answer.document["dryRun"] is True
    assert tree_digest(root) == before


def test_a_check_answers_no_with_exit_code_1_and_writes_nothing(root: Path) -> None:
    before = tree_digest(root)
    answer = invoke(["setup", "kohya_ss", "--check", "--json"], root)
    assert answer.exit_code == 1
    assert answer.error == {
        "code": "trainer_not_ready",
        "message": "sd-scripts is not set up on this machine",
        "hint": "lora setup kohya_ss",
    }
    assert tree_digest(root) == before


def test_a_check_names_what_an_interrupted_set_up_left(root: Path) -> None:
    (root / ".lora" / "trainers" / "mflux" / "venv").mkdir(parents=True)
    answer = invoke(["setup", "mflux", "--check", "--json"], root)
    assert "an interrupted set-up is left over" in answer.document["warnings"][0]


def test_a_trainer_that_went_away_is_not_ready_any_more(root: Path, tmp_path: Path) -> None:
    scripts = make_sd_scripts(tmp_path / "there")
    assert invoke(["setup", "kohya_ss", "--source", str(scripts.home)], root).exit_code == 0
    shutil.rmtree(scripts.home)
    answer = invoke(["setup", "kohya_ss", "--check"], root)
    assert answer.exit_code == 1
    assert "no sd-scripts checkout is there" in answer.stdout


def test_manual_needs_nothing(root: Path) -> None:
    answer = invoke(["setup", "manual"], root)
    assert answer.exit_code == 0
    assert "manual" in answer.stdout


def test_without_a_name_all_trainers_are_listed(root: Path) -> None:
    answer = invoke(["setup"], root)
    assert answer.exit_code == 0, answer.stderr
    for words in ("diffusers", "kohya_ss", "mflux", "manual", "sd-scripts is not set up"):
        assert words in answer.stdout


@pytest.mark.parametrize(
    ("args", "exit_code", "words"),
    [
        (["setup", "khya_ss"], 3, "did you mean kohya_ss?"),
        (["setup", "mflux", "--source", "."], 3, "--source is for kohya_ss"),
        (["setup", "diffusers", "--python", "python3"], 3, "--python is for trainers"),
        (["setup", "--source", "."], 2, "Name the trainer"),
    ],
)
def test_what_makes_no_sense_is_refused(
    args: list[str], exit_code: int, words: str, root: Path
) -> None:
    answer = invoke(args, root)
    assert answer.exit_code == exit_code
    assert words in answer.stderr
    assert not (root / LOCAL).exists()
