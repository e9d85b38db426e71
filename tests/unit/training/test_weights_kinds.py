"""Files of other kinds than LoRA are called by their names, with rank, sizes and completeness."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights
from tests.support.training_builders import RawTensor, float_tensor, safetensors_bytes

FLAT = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
DOTTED = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


def report_of(folder: Path, tensors: list[RawTensor]) -> WeightsReport:
    path = folder / "w.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    return inspect_weights(path)


def parts(module: str, **shapes: tuple[int, ...]) -> list[RawTensor]:
    return [float_tensor(f"{module}.{name}", shape) for name, shape in shapes.items()]


LOHA = {"hada_w1_a": (32, 4), "hada_w1_b": (4, 768), "hada_w2_a": (32, 4), "hada_w2_b": (4, 768)}
LOKR = {"lokr_w1": (4, 8), "lokr_w2_a": (8, 4), "lokr_w2_b": (4, 96)}
DORA = {"lora_down.weight": (4, 768), "lora_up.weight": (32, 4), "dora_scale": (32, 1)}


@pytest.mark.parametrize(
    ("module", "shapes", "algorithm", "family", "rank"),
    [
        (FLAT, LOHA, "loha", "lycoris", 4),
        (FLAT, LOKR, "lokr", "lycoris", 4),
        (FLAT, {"lokr_w1": (4, 8), "lokr_w2": (8, 96)}, "lokr", "lycoris", None),
        (FLAT, DORA, "dora", "kohya", 4),
        (
            DOTTED,
            {"lora_A.weight": (4, 8), "lora_B.weight": (8, 4), "lora_magnitude_vector": (8,)},
            "dora",
            "peft",
            4,
        ),
        (FLAT, {"oft_blocks": (4, 8, 8)}, "oft", "lycoris", None),
        (FLAT, {"oft_diag": (4, 8, 8)}, "oft", "lycoris", None),
        (DOTTED, {"oft_R.weight": (4, 28)}, "oft", "peft", None),
        (FLAT, {"diff": (32, 768)}, "full", "lycoris", None),
        (FLAT, {"a1.weight": (4, 8), "b1.weight": (8, 4)}, "glora", "lycoris", None),
    ],
)
def test_a_kind_is_named_with_its_rank(
    tmp_path: Path,
    module: str,
    shapes: dict[str, tuple[int, ...]],
    algorithm: str,
    family: str,
    rank: int | None,
) -> None:
    report = report_of(tmp_path, parts(module, **shapes))

    assert (report.algorithm, report.family, report.rank) == (algorithm, family, rank)
    assert report.problems == ()


@pytest.mark.parametrize("shapes", [LOHA, LOKR, DORA, {"diff": (32, 768)}])
def test_sizes_of_every_kind_tell_the_architecture(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]]
) -> None:
    """768 inputs of a cross attention are those of Stable Diffusion 1.5."""
    report = report_of(tmp_path, parts(FLAT, **shapes))

    assert report.modules[0].sizes == (768, 32)
    assert report.architecture == "sd15"


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"hada_w1_a": (32, 4), "hada_w1_b": (4, 768)}, "no whole hada_w2"),
        ({**LOHA, "hada_w1_b": (5, 768)}, "has rank 4, its other factor has rank 5"),
        ({"lokr_w1": (4, 8)}, "no whole lokr_w2"),
        ({"lokr_w1": (4, 8), "lokr_w2_a": (8, 4)}, "no whole lokr_w2"),
    ],
)
def test_a_kind_without_all_its_parts_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], words: str
) -> None:
    (problem,) = report_of(tmp_path, parts(FLAT, **shapes)).problems

    assert problem.code == "pair_broken"
    assert words in problem.message


@pytest.mark.parametrize(
    ("shapes", "zero"),
    [(LOHA, "hada_w2_a"), (LOKR, "lokr_w2_b"), ({"oft_blocks": (4, 8, 8)}, "oft_blocks"),
     ({"diff": (32, 768)}, "diff")],
)  # fmt: skip
def test_a_kind_that_changes_nothing_is_refused(
    tmp_path: Path, shapes: dict[str, tuple[int, ...]], zero: str
) -> None:
    tensors = [
        float_tensor(f"{FLAT}.{name}", shape, 0.0 if name == zero else None)
        for name, shape in shapes.items()
    ]

    assert [one.code for one in report_of(tmp_path, tensors).problems] == ["all_zero"]


def test_several_kinds_in_one_file_are_told(tmp_path: Path) -> None:
    report = report_of(tmp_path, [*parts(FLAT, **LOHA), *parts(f"{FLAT}_2", **DORA)])

    assert report.algorithms == {"loha": 1, "dora": 1}
    assert "mixed_algorithms" in {one.code for one in report.findings}


@pytest.mark.parametrize(
    ("path", "block", "kind"),
    [
        (FLAT, ("denoiser", "down", 0), "attention"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_ff_net_0_proj",
         ("denoiser", "input", 4), "feed-forward"),
        ("lora_unet_double_blocks_7_img_attn_qkv", ("denoiser", "double", 7), "attention"),
        ("lora_unet_single_blocks_37_linear1", ("denoiser", "single", 37), "fused"),
        ("transformer.single_transformer_blocks.3.attn.to_q", ("denoiser", "single", 3),
         "attention"),
        ("transformer.transformer_blocks.3.ff.net.2", ("denoiser", "double", 3), "feed-forward"),
        ("diffusion_model.layers.12.feed_forward.w1", ("denoiser", "layer", 12), "feed-forward"),
        ("unet.mid_block.resnets.0.conv1", ("denoiser", "middle", 0), "convolution"),
        ("unet.up_blocks.1.attentions.0.proj_in", ("denoiser", "up", 1), "projection"),
        ("lora_te1_text_model_encoder_layers_11_mlp_fc1", ("text_encoder", "layer", 11),
         "feed-forward"),
        ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", ("text_encoder_2", "layer", 0),
         "attention"),
        ("lora_te3_encoder_block_5_layer_0_SelfAttention_q", ("text_encoder_3", "layer", 5),
         "attention"),
        ("unet.conv_in", ("denoiser", "other", 0), "convolution"),
    ],
)  # fmt: skip
def test_block_and_layer_are_told_in_every_spelling(
    path: str, block: tuple[str, str, int], kind: str
) -> None:
    from lora_pipeline.training.weights.blocks import block_of, kind_of

    found = block_of(path)

    assert (found.part, found.series, found.number) == block
    assert kind_of(path) == kind
