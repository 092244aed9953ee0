"""Findings of 05_failure_modes on where a failure arises; the tables come from `origins`."""

import pandas as pd

from ssenv_core.evaluation.diversity_findings import bits
from ssenv_core.plots.failure_modes import curves, number_map
from ssenv_core.plots.finding import Finding
from ssenv_core.plots.style import measure_label


def levels_finding(ratios: pd.DataFrame) -> Finding:
    """How many measures differ when only the first levels are decoded.

    Args:
        ratios: of `origins.ratios_by_level`.
    """
    counts = [f"{name}: {_count(row)}" for name, row in ratios.iterrows()]
    return Finding(
        sentence=f"Of {ratios.shape[1]} measures, beyond the noise floor: {'; '.join(counts)}.",
        figure=number_map(ratios, "gap /<br>noise floor"),
        name="levels",
        tables={"failure_modes_levels": ratios},
    )


def settings_finding(ratios: pd.DataFrame, levels: pd.Series) -> Finding:
    """Which setting of the sampling changes the number of measures that differ.

    Args:
        ratios: of `origins.ratios_by_setting`.
        levels: of `origins.relative_levels`, by setting.
    """
    beyond = (ratios.abs() > 1).sum(axis=1)
    if beyond.nunique() == 1:
        counts = (
            f"No setting changes the number of measures beyond the noise floor ({beyond.iloc[0]})."
        )
    else:
        fewest, most = (_counted(ratios[beyond == count]) for count in (beyond.min(), beyond.max()))
        counts = (
            f"Of {ratios.shape[1]} measures, beyond the noise floor: fewest with {fewest}; "
            f"most with {most}."
        )
    loudness = "; ".join(f"{name} {level:.2f}" for name, level in levels.items())
    return Finding(
        sentence=f"{counts}\nRoot mean square relative to real clips: {loudness}.",
        figure=number_map(ratios, "gap /<br>noise floor"),
        name="settings",
        tables={"failure_modes_settings": ratios},
    )


def iterations_finding(entropy: pd.DataFrame) -> Finding:
    """Whether the codes of level 1 are less or more varied than real ones as they are decided.

    Args:
        entropy: of `origins.entropy_of_iterations`.
    """
    return Finding(
        sentence=_iterations_sentence(entropy.dropna(subset=["generated", "real"])),
        figure=curves(
            {side: entropy[side] for side in ("real", "generated")},
            "iteration of level 1",
            "entropy of the codes decided (bits)",
        ),
        name="iterations",
    )


def classes_finding(gaps: pd.DataFrame, floor: pd.Series) -> Finding:
    """Which class lies furthest towards failure, and how many gaps exceed the noise floor.

    Args:
        gaps, floor: of `origins.gaps_by_class`.
    """
    means = gaps.mean(axis=1)
    cells = gaps.stack().dropna()
    name, measure = cells.abs().idxmax()
    largest = cells[name, measure]
    worst = f"{means.idxmax()} lies furthest" if means.max() > 0 else "no class lies"
    sentence = (
        f"On average over the measures, {worst} towards failure. The largest single gap is "
        f"{measure_label(measure)} of {name}: {abs(largest):.1f} standard deviations of the real "
        f"clips {'towards' if largest > 0 else 'away from'} failure. "
        f"{_beyond_class_floor(gaps, floor)}"
    )
    return Finding(
        sentence=sentence,
        figure=number_map(gaps, "gap /<br>real std", reach=2.0),
        name="by_class",
        tables={"failure_modes_classes": gaps},
    )


def _beyond_class_floor(gaps: pd.DataFrame, floor: pd.Series) -> str:
    """How many gaps exceed the noise floor of a class, in each direction."""
    total = int((gaps.notna() & floor.notna()).sum().sum())
    if not total:
        return "There are too few clips per class for a noise floor."
    towards = int((gaps > floor).sum().sum())
    away = int((-gaps > floor).sum().sum())
    return (
        f"Beyond the noise floor of a class: {towards + away} of {total} gaps, {towards} towards "
        f"failure and {away} in the other direction; by chance it would be one in twenty."
    )


def _count(ratios: pd.Series) -> str:
    """How many ratios lie beyond 1 in either direction: "3 (1 in the other direction)"."""
    opposite = int((ratios < -1).sum())
    note = f" ({opposite} in the other direction)" if opposite else ""
    return f"{int((ratios.abs() > 1).sum())}{note}"


def _counted(ratios: pd.DataFrame) -> str:
    return " and ".join(f"{name}: {_count(row)}" for name, row in ratios.iterrows())


def _iterations_sentence(entropy: pd.DataFrame) -> str:
    """The change from the first to the last iteration, and the iterations beyond the floor."""
    if entropy.empty:
        return "No decided code lies where real clips have sound, so nothing can be compared."
    gap = entropy["generated"] - entropy["real"]
    ends = (
        f"The first level's codes have {bits(gap.iloc[0])} entropy than real ones after iteration "
        f"{gap.index[0]} and {bits(gap.iloc[-1])} after iteration {gap.index[-1]}. "
    )
    floor = entropy["noise_floor"]
    if floor.isna().all():
        return f"{ends}There are too few real clips for a noise floor."
    return (
        f"{ends}Beyond the noise floor ({floor.iloc[0]:.2f} and {floor.iloc[-1]:.2f} bits) they "
        f"are less varied after {(-gap > floor).sum()} of {len(gap)} iterations and more varied "
        f"after {(gap > floor).sum()}."
    )
