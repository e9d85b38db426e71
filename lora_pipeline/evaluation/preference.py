"""What answers are worth in numbers: Wilson bounds, agreement, and sentences that say it. Pure.

``docs/decisions/0116`` says why these numbers and no others.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

Z95 = 1.959964
# Pairs of one prompt are not independent. Where the answers cannot tell by how much (all alike,
# or few), they are taken to share a fifth of what makes them.
LEAST_LIKENESS = 0.2
Key = tuple[str, int]


class Preference(msgspec.Struct, frozen=True):
    """What the answers of all reviewers come to.

    Attributes:
        wins: Pairs in which the candidate was preferred.
        losses: Pairs in which the opponent was.
        ties: Pairs in which neither was, or as many preferred one as the other.
        prompts: From how many prompts the pairs are.
        effective: How many independent pairs the decided ones are worth.
        low: Lower end of the 95 % interval of the share of wins.
        high: Its upper end.
        reviewers: How many people answered.
        agreement: Krippendorff's alpha between them, or None where there is none to tell.
    """

    wins: int
    losses: int
    ties: int
    prompts: int
    effective: float
    low: float
    high: float
    reviewers: int
    agreement: float | None

    @property
    def pairs(self) -> int:
        """How many pairs were answered."""
        return self.wins + self.losses + self.ties


def wilson(wins: float, count: float, z: float = Z95) -> tuple[float, float]:
    """Return the Wilson interval of a share; of nothing it is everything, 0 to 1."""
    if count <= 0:
        return 0.0, 1.0
    share, square = wins / count, z * z
    centre = share + square / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    width = 1 + square / count
    return max(0.0, (centre - spread) / width), min(1.0, (centre + spread) / width)


def weigh(answers: Sequence[Mapping[Key, int]]) -> Preference:
    """Return what several people preferred; each gives 1, 0 or -1 by prompt and seed.

    A pair that several people judged is one pair: the majority decides it.
    """
    given: dict[Key, list[int]] = defaultdict(list)
    for one in answers:
        for key, value in one.items():
            given[key].append(value)
    decided = {key: _majority(values) for key, values in given.items()}
    counts = Counter(decided.values())
    clusters: dict[str, list[int]] = defaultdict(list)
    for (prompt, _), value in decided.items():
        if value:
            clusters[prompt].append(1 if value > 0 else 0)
    effective = effective_count(list(clusters.values()))
    count = counts[1] + counts[-1]
    low, high = wilson(effective * counts[1] / count if count else 0, effective)
    return Preference(
        wins=counts[1],
        losses=counts[-1],
        ties=counts[0],
        prompts=len({prompt for prompt, _ in decided}),
        effective=effective,
        low=low,
        high=high,
        reviewers=sum(1 for one in answers if one),
        agreement=krippendorff(answers),
    )


def effective_count(clusters: Sequence[Sequence[int]]) -> float:
    """Return how many independent yes-or-no answers clustered ones are worth.

    The likeness within a cluster is estimated by analysis of variance (Kish's design effect).
    """
    filled = [one for one in clusters if one]
    count = sum(map(len, filled))
    if not count:
        return 0.0
    size = sum(len(one) ** 2 for one in filled) / count
    return count / (1 + (size - 1) * max(LEAST_LIKENESS, _likeness(filled, count)))


def krippendorff(answers: Sequence[Mapping[Key, int]]) -> float | None:
    """Return Krippendorff's alpha with squared distances, or None when it is not defined.

    It takes any number of people and answers that some did not give, and two people who prefer
    opposite sides disagree more than one who prefers and one who sees no difference.
    """
    units: dict[Key, list[int]] = defaultdict(list)
    for one in answers:
        for key, value in one.items():
            units[key].append(value)
    paired = [values for values in units.values() if len(values) > 1]
    total = sum(map(len, paired))
    observed = sum(
        _distance(first, second) * 2 / (len(values) - 1)
        for values in paired
        for first, second in itertools.combinations(values, 2)
    )
    counts = Counter(value for values in paired for value in values)
    expected = sum(
        counts[first] * counts[second] * _distance(first, second)
        for first, second in itertools.product(counts, repeat=2)
    )
    if total < 2 or not expected:
        return None
    return 1 - (total - 1) * observed / expected


def sentences(found: Preference, *, against: str) -> list[str]:
    """Return what the numbers say, and what they do not, one sentence each."""
    if not found.pairs:
        return [f"Nobody has compared it with {against} yet."]
    words = f"Preferred to {against} in {found.wins} of {found.pairs} pairs, {found.losses} "
    said = [f"{words}the other way, {found.ties} without a difference."]
    decided = found.wins + found.losses
    if not decided:
        said.append("Every pair is a tie: nothing says that one is better, or that they are alike.")
    else:
        said.append(_worth(found, decided))
    said.append(_agreed(found))
    return said


def _worth(found: Preference, decided: int) -> str:
    share = found.wins / decided
    pairs = "1 decided pair" if decided == 1 else f"{decided} decided pairs"
    prompts = "1 prompt" if found.prompts == 1 else f"{found.prompts} prompts"
    words = (
        f"{pairs} from {prompts} are worth {found.effective:.0f} independent ones: with {share:.0%}"
        f" wins the true share is between {found.low:.0%} and {found.high:.0%}"
    )
    if found.low > 0.5:
        return f"{words}, so it is better."
    if found.high < 0.5:
        return f"{words}, so it is worse."
    return f"{words}, which is no proof of either."


def _agreed(found: Preference) -> str:
    if found.reviewers < 2:
        return "One person answered: how far another would agree is not known."
    if found.agreement is None:
        return (
            f"{found.reviewers} people answered; no pair was judged twice, or all said the same "
            "of every pair, so their agreement cannot be told from chance."
        )
    strength = "disagree" if found.agreement < 0.4 else (
        "agree in part" if found.agreement < 0.67 else "agree"
    )  # fmt: skip
    return (
        f"{found.reviewers} people answered and {strength} (Krippendorff's alpha "
        f"{found.agreement:.2f}; 1 is agreement, 0 is chance)."
    )


def _likeness(clusters: Sequence[Sequence[int]], count: int) -> float:
    groups = len(clusters)
    share = sum(map(sum, clusters)) / count
    if groups < 2 or count <= groups or share in (0.0, 1.0):
        return 0.0
    means = [sum(one) / len(one) for one in clusters]
    between = sum(
        len(one) * (mean - share) ** 2 for one, mean in zip(clusters, means, strict=True)
    ) / (groups - 1)
    within = sum(
        (value - mean) ** 2 for one, mean in zip(clusters, means, strict=True) for value in one
    ) / (count - groups)
    size = (count - sum(len(one) ** 2 for one in clusters) / count) / (groups - 1)
    whole = between + (size - 1) * within
    return min(1.0, max(0.0, (between - within) / whole)) if whole else 0.0


def _majority(values: Sequence[int]) -> int:
    total = sum(values)
    return (total > 0) - (total < 0)


def _distance(first: int, second: int) -> int:
    return (first - second) ** 2
