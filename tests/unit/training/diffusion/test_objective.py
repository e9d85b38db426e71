"""Noise, targets and weights follow their formulas."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lora_pipeline.training.diffusion.objective import (  # noqa: E402
    NoiseSchedule,
    draw_noise,
    weighted_loss,
)

pytestmark = pytest.mark.train
KEPT = torch.tensor([0.99, 0.5, 0.1, 0.0])
TIMES = torch.tensor([0, 1, 2, 3])


def draws(seed: int = 0) -> Any:
    return torch.Generator().manual_seed(seed)


def test_all_noise_at_the_end_and_hardly_any_at_the_start() -> None:
    schedule = NoiseSchedule(KEPT, "epsilon")
    clean, noise = torch.ones(4, 1, 2, 2), torch.zeros(4, 1, 2, 2)

    noised = schedule.noised(clean, noise, TIMES)

    assert noised[3].abs().max() == 0
    assert noised[0].mean() == pytest.approx(0.99**0.5)


@pytest.mark.parametrize(
    ("prediction", "expected"), [("epsilon", 3.0), ("sample", 2.0), ("v_prediction", None)]
)
def test_target_is_what_the_model_predicts(prediction: str, expected: float | None) -> None:
    schedule = NoiseSchedule(KEPT, prediction)
    clean, noise = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), 3.0)

    target = float(schedule.target(clean, noise, torch.tensor([1])))

    assert target == pytest.approx(expected or 0.5**0.5 * (3 - 2))


def test_without_gamma_every_timestep_counts_the_same() -> None:
    assert NoiseSchedule(KEPT, "epsilon").weights(TIMES, None).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_weights_are_finite_also_where_nothing_of_the_image_is_left(prediction: str) -> None:
    weights = NoiseSchedule(KEPT, prediction).weights(TIMES, 5.0)

    assert bool(torch.isfinite(weights).all())
    assert float(weights.max()) <= 5.0


def test_min_snr_takes_weight_from_easy_timesteps() -> None:
    weights = NoiseSchedule(KEPT, "epsilon").weights(TIMES, 5.0)

    assert weights.tolist() == pytest.approx([5 / 99, 1, 1, 1], rel=1e-3)


def test_timesteps_stay_in_range_and_are_those_of_the_seed() -> None:
    schedule = NoiseSchedule(torch.linspace(1, 0, 1000), "sample")

    times = schedule.draw_times(5000, draws())

    assert 0 <= int(times.min()) <= int(times.max()) <= 999
    assert torch.equal(times, schedule.draw_times(5000, draws()))


def test_loss_counts_each_image_by_its_weight() -> None:
    predicted, target = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)

    assert float(weighted_loss(predicted, target, torch.tensor([1.0, 3.0]))) == 2.0


def test_noise_offset_shifts_whole_channels() -> None:
    plain = draw_noise(torch.zeros(8, 4, 32, 32), draws())
    shifted = draw_noise(torch.zeros(8, 4, 32, 32), draws(), offset=1.0)

    assert float((shifted - plain).var(dim=(2, 3)).max()) < 1e-6
    assert float(shifted.mean(dim=(2, 3)).std()) > 0.5


# ---- masks


def test_what_a_mask_hides_changes_neither_the_loss_nor_what_is_learnt() -> None:
    masks = torch.ones(2, 1, 4, 4)
    masks[:, :, :, 2:] = 0
    target = torch.randn(2, 3, 4, 4, generator=draws())
    results = []
    for wrong in (0.0, 7.0, -1e4):
        predicted = torch.zeros(2, 3, 4, 4)
        predicted[..., 2:] = wrong
        predicted.requires_grad_()
        loss = weighted_loss(predicted, target, torch.tensor([1.0, 0.5]), masks)
        loss.backward()
        results.append((float(loss.detach()), predicted.grad))

    assert {loss for loss, _ in results} == {results[0][0]}
    assert results[0][0] > 0
    assert all(bool((slope[..., 2:] == 0).all()) for _, slope in results)
    assert all(bool((slope[..., :2] != 0).all()) for _, slope in results)


def test_what_a_mask_shows_counts_as_much_as_without_one() -> None:
    predicted, target = torch.zeros(1, 2, 4, 4), torch.ones(1, 2, 4, 4)
    half = torch.full((1, 1, 4, 4), 0.5)
    one = torch.ones(1)

    assert float(weighted_loss(predicted, target, one, torch.ones(1, 1, 4, 4))) == float(
        weighted_loss(predicted, target, one)
    )
    assert float(weighted_loss(predicted, target, one, half)) == 0.5
    assert float(weighted_loss(predicted, target, one, torch.zeros(1, 1, 4, 4))) == 0
