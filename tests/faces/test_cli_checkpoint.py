from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from tests.support.mlx_folders import write_mlx_folder
from tests.support.workspace_builders import invoke, make_workspace, tree_digest

SDXL_KEY = "conditioner.embedders.1.model.ln_final.weight"


def write_weights(path: Path, *names: str) -> Path:
    """Write a sound safetensors file with one number under each name."""
    entries = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * number, 4 * number + 4]}
        for number, name in enumerate(names)
    }
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = struct.pack(f"<{len(names)}f", *range(1, len(names) + 1))
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (path / "unet").mkdir()
    (path / "unet/config.json").write_text('{"sample_size": 8}')
    (path / "vae").mkdir()
    (path / "vae/config.json").write_text('{"block_out_channels": [1, 1, 1, 1]}')
    write_weights(path / "unet/diffusion_pytorch_model.safetensors", "conv_in.weight")
    return path


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    make_workspace(tmp_path / "studio", project="neon_city", git=False)
    return tmp_path / "studio"


def test_add_names_the_bytes_and_looks_up_what_a_folder_is(studio: Path, tmp_path: Path) -> None:
    model = make_folder(tmp_path / "models/tiny")

    answer = invoke(
        [
            "checkpoint", "add", "tiny", "--path", str(model), "--asset-type", "ui_icon",
            "--license", "Apache-2.0", "--commercial-loras", "yes", "--json",
        ],
        studio,
    )  # fmt: skip

    record = answer.document["data"]["checkpoint"]
    assert answer.exit_code == 0
    assert (record["architecture"], record["nativeResolution"]) == ("sd15", 64)
    assert record["digest"].startswith("sha256:")
    assert record["license"] == {"id": "Apache-2.0", "commercialLoras": "yes"}
    assert answer.document["written"] == ["data/projects/neon_city/checkpoints/tiny.json"]


def test_add_looks_up_what_a_single_file_is(studio: Path) -> None:
    write_weights(studio / "models/xl.safetensors", SDXL_KEY)

    answer = invoke(
        ["checkpoint", "add", "xl", "--path", "models/xl.safetensors", "--asset-type", "ui_icon",
         "--scope", "baseline", "--json"],
        studio,
    )  # fmt: skip

    record = answer.document["data"]["checkpoint"]
    assert (record["architecture"], record["nativeResolution"]) == ("sdxl", 1024)
    assert record["weights"]["kind"] == "repo_relative"
    assert record["digest"] == f"sha256:{record['weights']['sha256']}"
    assert answer.document["written"] == ["data/shared/checkpoints/xl.json"]


def test_add_keeps_companions_and_a_training_adapter(studio: Path) -> None:
    for name in ("flux", "ae", "adapter"):
        write_weights(studio / f"{name}.safetensors", "double_blocks.0.img_attn.qkv.weight")

    answer = invoke(
        ["checkpoint", "add", "flux", "--path", "flux.safetensors", "--asset-type", "logo",
         "--companion", "ae=ae.safetensors", "--training-adapter", "adapter.safetensors",
         "--json"],
        studio,
    )  # fmt: skip

    record = answer.document["data"]["checkpoint"]
    assert record["companions"]["ae"]["path"] == "ae.safetensors"
    assert len(record["companions"]["ae"]["sha256"]) == 64
    assert record["trainingAdapter"]["required"] is True


def test_path_of_one_machine_is_warned_about(studio: Path, tmp_path: Path) -> None:
    model = make_folder(tmp_path / "models/tiny")

    answer = invoke(
        ["checkpoint", "add", "tiny", "--path", str(model), "--asset-type", "ui_icon"], studio
    )

    assert "means something on this machine only" in answer.stdout
    assert "its licence is not recorded" in answer.stdout


def refused(studio: Path, *arguments: str) -> dict[str, str]:
    before = tree_digest(studio)
    answer = invoke(
        ["checkpoint", "add", "m", "--asset-type", "ui_icon", *arguments, "--json"], studio
    )
    assert answer.exit_code == 3
    assert tree_digest(studio) == before
    return answer.error


def test_file_of_unknown_architecture_asks_for_it_and_writes_nothing(studio: Path) -> None:
    write_weights(studio / "m.safetensors", "some.weight")

    error = refused(studio, "--path", "m.safetensors")

    assert error["code"] == "argument_invalid"
    assert "--architecture" in error["hint"]


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("m.ckpt", b"\x80\x04.", "pickled model"),
        ("m.safetensors", b"\x80\x04.", "pickle"),
        ("m.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("m.safetensors", b"<html>404</html>", "web page"),
        ("m.safetensors", b"", "empty"),
    ],
)
def test_what_is_no_model_is_refused_by_name_and_nothing_is_written(
    studio: Path, name: str, data: bytes, words: str
) -> None:
    (studio / name).write_bytes(data)

    error = refused(studio, "--path", name)

    assert error["code"] == "weights_refused"
    assert words in error["message"]


def test_model_that_is_not_there_is_missing(studio: Path) -> None:
    assert refused(studio, "--path", "nothing")["code"] == "file_missing"


def test_second_checkpoint_of_that_id_is_refused_in_any_scope(studio: Path) -> None:
    write_weights(studio / "m.safetensors", SDXL_KEY)
    invoke(
        ["checkpoint", "add", "m", "--path", "m.safetensors", "--asset-type", "ui_icon",
         "--scope", "baseline"],
        studio,
    )  # fmt: skip

    assert refused(studio, "--path", "m.safetensors")["code"] == "record_exists"


def test_dry_run_writes_nothing(studio: Path) -> None:
    write_weights(studio / "m.safetensors", SDXL_KEY)
    before = tree_digest(studio)

    answer = invoke(
        ["checkpoint", "add", "m", "--path", "m.safetensors", "--asset-type", "ui_icon",
         "--dry-run"],
        studio,
    )  # fmt: skip

    assert answer.exit_code == 0
    assert tree_digest(studio) == before


@pytest.fixture
def added(studio: Path) -> Path:
    write_weights(studio / "m.safetensors", SDXL_KEY)
    answer = invoke(
        ["checkpoint", "add", "m", "--path", "m.safetensors", "--asset-type", "ui_icon"], studio
    )
    assert answer.exit_code == 0
    return studio


def test_verify_says_yes_to_the_same_bytes(added: Path) -> None:
    answer = invoke(["checkpoint", "verify", "m"], added)

    assert answer.exit_code == 0
    assert "m is what was recorded" in answer.stdout


def test_verify_says_no_to_other_bytes_and_names_both_digests(added: Path) -> None:
    path = added / "m.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")

    answer = invoke(["checkpoint", "verify", "m", "--json"], added)

    assert answer.exit_code == 1
    assert answer.error["code"] == "checkpoint_differs"
    assert answer.document["data"]["found"] != answer.document["data"]["recorded"]


def test_verify_of_a_model_that_is_not_here_is_a_failure_and_no_yes(added: Path) -> None:
    (added / "m.safetensors").unlink()

    answer = invoke(["checkpoint", "verify", "m", "--json"], added)

    assert (answer.exit_code, answer.error["code"]) == (3, "file_missing")


def test_list_and_show_tell_whether_it_is_here(added: Path) -> None:
    rows = invoke(["checkpoint", "list", "--json"], added).document["data"]["checkpoints"]
    here = invoke(["checkpoint", "show", "m", "--json"], added).document["data"]["here"]
    (added / "m.safetensors").unlink()
    gone = invoke(["checkpoint", "show", "m"], added)

    assert [(row["id"], row["architecture"]) for row in rows] == [("m", "sdxl")]
    assert here == {"found": True, "path": "m.safetensors"}
    assert "here       no: m: nothing at m.safetensors" in gone.stdout


def test_unknown_checkpoint_names_the_near_one(added: Path) -> None:
    write_weights(added / "n.safetensors", SDXL_KEY)
    invoke(
        ["checkpoint", "add", "sdxl_base", "--path", "n.safetensors", "--asset-type", "ui_icon"],
        added,
    )

    answer = invoke(["checkpoint", "show", "sdxl_bse", "--json"], added)

    assert answer.error["hint"] == "did you mean sdxl_base?"


def test_a_folder_that_mflux_saved_is_added_and_read_by_mflux_alone(
    studio: Path, tmp_path: Path
) -> None:
    folder = write_mlx_folder(tmp_path / "klein-base-4b-q4")

    answer = invoke(
        ["checkpoint", "add", "klein_4b_q4", "--path", str(folder), "--asset-type", "ui_icon"],
        studio,
    )

    assert answer.exit_code == 0, answer.stderr
    assert "flux2" in answer.stdout
    told = " ".join((answer.stdout + answer.stderr).split())
    assert "written by mflux 0.24.0, quantised to 4 bits; nothing but mflux reads it" in told
    assert invoke(["checkpoint", "verify", "klein_4b_q4"], studio).exit_code == 0
    (folder / "transformer" / "0.safetensors").unlink()
    again = invoke(["--json", "checkpoint", "verify", "klein_4b_q4"], studio)
    assert (again.exit_code, again.error["code"]) == (3, "weights_refused")
