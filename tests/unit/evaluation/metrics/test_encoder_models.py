"""The models themselves, of random weights: what they answer, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from lora_pipeline.evaluation.metrics.encoder_models import File, load  # noqa: E402
from tests.support import metric_builders  # noqa: E402
from tests.support.evaluation_builders import noise, png_of  # noqa: E402

pytestmark = pytest.mark.train


def picture(folder: Path, seed: int, width: int = 64, height: int = 48) -> File:
    path = folder / f"{seed}.png"
    path.write_bytes(png_of(noise(seed, width, height)))
    return path, width, height


def test_lpips_is_nothing_between_a_picture_and_itself_and_the_same_both_ways(
    tmp_path: Path,
) -> None:
    model = load("lpips", metric_builders.make_tiny_lpips(tmp_path / "a.safetensors"), "cpu", 1)
    first, second = picture(tmp_path, 1), picture(tmp_path, 2)
    assert model.distance(first, first) == 0
    apart = model.distance(first, second)
    assert apart > 0
    assert apart == pytest.approx(model.distance(second, first))


def test_lpips_follows_its_formula(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    path = metric_builders.make_tiny_lpips(tmp_path / "a.safetensors")
    weights = load_file(path)
    files = picture(tmp_path, 1, 64, 64), picture(tmp_path, 2, 64, 64)
    expected, flows = 0.0, []
    for seed in (1, 2):
        pixels = torch.from_numpy(noise(seed, 64, 64).astype(np.float32)).permute(2, 0, 1) / 127.5
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        flows.append(((pixels - 1 - shift.view(3, 1, 1)) / scale.view(3, 1, 1))[None])
    names = [name for name in weights if name.endswith(".bias")]
    shapes = {"net.slice1.0": (4, 2), "net.slice2.3": (1, 2)}
    for number, name in enumerate(sorted(names)):
        place = name.removesuffix(".bias")
        stride, padding = shapes.get(place, (1, 1))
        if number in {1, 2}:
            flows = [torch.nn.functional.max_pool2d(one, 3, 2) for one in flows]
        flows = [
            torch.relu(torch.nn.functional.conv2d(
                one, weights[f"{place}.weight"], weights[name], stride, padding
            )) for one in flows
        ]  # fmt: skip
        units = [one / (one.norm(dim=1, keepdim=True) + 1e-10) for one in flows]
        apart = (units[0] - units[1]) ** 2
        expected += float((apart * weights[f"lin{number}.model.1.weight"]).sum(dim=1).mean())
    assert load("lpips", path, "cpu", 1).distance(*files) == pytest.approx(expected, rel=1e-4)


def test_clip_gives_pictures_and_texts_vectors_of_one_space(tmp_path: Path) -> None:
    model = load("clip", metric_builders.make_tiny_clip(tmp_path / "clip"), "cpu", 1)
    images = model.images([picture(tmp_path, 1), picture(tmp_path, 2, 40, 80)], mirrored=False)
    texts = model.texts(["a red star", "long " * 200])
    assert images.shape == texts.shape == (2, 16) == (2, model.size)
    assert np.linalg.norm(np.concatenate([images, texts]), axis=1) == pytest.approx(1, abs=1e-5)


def test_the_order_and_number_of_pictures_change_nothing(tmp_path: Path) -> None:
    model = load("dino", metric_builders.make_tiny_dino(tmp_path / "dino"), "cpu", 1)
    files = [picture(tmp_path, seed) for seed in range(18)]
    together = model.images(files, mirrored=False)
    alone = model.images(files[17:], mirrored=False)
    assert together[17] == pytest.approx(alone[0], abs=1e-5)


def test_a_mirrored_picture_is_what_a_copy_of_its_mirror_image_is(tmp_path: Path) -> None:
    model = load("copies", metric_builders.make_tiny_copy_model(tmp_path / "sscd.pt"), "cpu", 1)
    file = picture(tmp_path, 1)
    turned = tmp_path / "turned.png"
    turned.write_bytes(png_of(np.ascontiguousarray(noise(1, 64, 48)[:, ::-1])))
    mirrored = model.images([file], mirrored=True)
    assert mirrored == pytest.approx(model.images([(turned, 64, 48)], mirrored=False), abs=1e-5)


def test_a_pickle_is_no_copy_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"weights": torch.zeros(2)}, path)
    with pytest.raises(RuntimeError):
        load("copies", path, "cpu", 1)


@pytest.mark.parametrize(
    ("kind", "config", "words"),
    [
        ("clip", '{"model_type": "siglip"}', "is no CLIP model: it states the type 'siglip'"),
        ("dino", '{"model_type": "resnet"}', "is no DINOv2 model"),
        ("clip", "", "it has no config.json"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, kind: str, config: str, words: str
) -> None:
    if config:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=words):
        load(kind, tmp_path, "cpu", 1)


def test_weights_of_something_else_are_no_lpips(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="is no LPIPS with AlexNet"):
        load("lpips", tmp_path / "a.safetensors", "cpu", 1)


def test_a_folder_that_does_not_say_how_pictures_go_in_is_refused(tmp_path: Path) -> None:
    folder = metric_builders.make_tiny_dino(tmp_path / "dino")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ValueError, match="no preprocessor_config"):
        load("dino", folder, "cpu", 1)


def test_what_a_model_cannot_be_asked_it_refuses(tmp_path: Path) -> None:
    model = load("dino", metric_builders.make_tiny_dino(tmp_path / "dino"), "cpu", 1)
    with pytest.raises(ValueError, match="reads no text"):
        model.texts(["a star"])
