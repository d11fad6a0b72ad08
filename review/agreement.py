"""How far people agree beyond chance: Cohen's kappa for two, Fleiss' kappa for any number. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

FEWEST_ITEMS = 10


def cohen_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Return Cohen's kappa of two raters over the items that both rated; None when it is not defined.

    pairs: one (label of the first, label of the second) per item. Undefined without items, and when both gave every
    item the same single label, where agreement by chance is already complete.
    Source: Cohen 1960, Educational and Psychological Measurement 20, 37-46.
    """
    if not pairs:
        return None
    n = len(pairs)
    observed = sum(first == second for first, second in pairs) / n
    ours, theirs = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    expected = sum(ours[label] * theirs[label] for label in ours) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def fleiss_kappa(items: Sequence[Mapping[Any, int]]) -> float | None:
    """Return Fleiss' kappa; None when it is not defined.

    items: per item, how many raters chose each label; items with fewer than two ratings say nothing and are left out.
    With the same number of ratings everywhere this is Fleiss' own formula; where the number varies, each item weighs
    the same in the observed agreement and each rating the same in the expected one.
    Source: Fleiss 1971, Psychological Bulletin 76, 378-382.
    """
    rated = [(item, sum(item.values())) for item in items]
    rated = [(item, n) for item, n in rated if n >= 2]
    if not rated:
        return None
    agreements = [(sum(count**2 for count in item.values()) - n) / (n * (n - 1)) for item, n in rated]
    observed = sum(agreements) / len(agreements)
    totals: Counter[Hashable] = Counter()
    for item, _ in rated:
        totals.update(item)
    ratings = sum(totals.values())
    expected = sum((count / ratings) ** 2 for count in totals.values())
    return None if expected == 1 else (observed - expected) / (1 - expected)


def strength(kappa: float | None, items: int) -> str:
    """The usual words for a kappa (Landis and Koch 1977, Biometrics 33, 159-174), where there are items enough."""
    if items < FEWEST_ITEMS:
        return "too few cases to say"
    if kappa is None:
        return "not defined"
    for limit, word in ((0.0, "poor"), (0.2, "slight"), (0.4, "fair"), (0.6, "moderate"), (0.8, "substantial")):
        if kappa < limit if limit == 0.0 else kappa <= limit:
            return word
    return "almost perfect"


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which `share` of the sorted values lie, interpolated; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
