"""What notebook 07 shows: what the listening test holds, and what its ratings say."""

import pandas as pd

from ssenv_core.evaluation.listening.analysis import (
    LEVEL,
    MOST_BELOW,
    REFERENCE_SCORE,
    Verdict,
    least_listeners,
)
from ssenv_core.evaluation.listening.design import Choice, ListeningTest
from ssenv_core.evaluation.listening.preparation import CodedItems
from ssenv_core.plots.finding import Finding, Number
from ssenv_core.plots.ratings import rating_intervals


def preparation_finding(test: ListeningTest, choice: Choice, coded: CodedItems) -> Finding:
    """Say what listeners will rate, and which codecs are missing."""
    sounds = test.sounds()
    ratings = sum(len(page.stimuli) for page in test.pages)
    generated = sum(len(made) for _, made in choice.classes.values())
    clipped = sum(abs(wav).max() > 1 for wav in sounds.values())
    sentences = [f"Left out: {name}. {reason}" for name, reason in coded.missing.items()]
    sentences += [
        f"{len(test.pages)} pages with {ratings} stimuli to rate, version {test.version}: "
        f"{_count(len(choice.items), 'clip')} through {_count(len(coded.by_codec), 'codec')}, "
        f"{_count(len(choice.classes), 'class', 'classes')} with "
        f"{_count(generated, 'generated clip')}. "
        f"{clipped} of {len(sounds)} sounds exceed full scale and are clipped."
    ]
    numbers = {"pages": Number(len(test.pages)), "sounds": Number(len(sounds))}
    return Finding(sentence="\n".join(sentences), numbers=numbers)


def listeners_finding(verdict: Verdict, other_versions: int) -> Finding:
    """Say how many have rated, and whom the screening excludes.

    Args:
        verdict: on the ratings of this version of the test.
        other_versions: number of ratings of other versions.
    """
    screening = verdict.screening
    sentences = []
    if other_versions:
        sentences.append(
            f"{_count(other_versions, 'rating')} of other versions of this test "
            f"{'is' if other_versions == 1 else 'are'} left out."
        )
    if not verdict.listeners:
        sentences.append("Nobody has rated anything yet, so the test has no result.")
    elif len(screening):
        excluded = sorted(screening.index[~screening["kept"]])
        reason = (
            f" ({', '.join(excluded)}) for rating the hidden reference below {REFERENCE_SCORE} on "
            f"more than {100 * MOST_BELOW:.0f} % of the pages"
        )
        sentences.append(
            f"{_count(verdict.listeners, 'listener')}; {len(excluded)} of the {len(screening)} in "
            f"mushra excluded{reason if excluded else ''}."
        )
    else:
        sentences.append(f"{_count(verdict.listeners, 'listener')}; nobody has rated mushra.")
    return Finding(
        sentence="\n".join(sentences),
        table=screening if len(screening) else None,
        numbers={"listeners": Number(verdict.listeners)},
        tables={"listening_screening": screening},
    )


def ratings_finding(verdict: Verdict) -> Finding:
    """Show the median rating of each condition with its interval."""
    summary = verdict.summary
    tables = {"listening_summary": summary}
    if summary.empty:
        return Finding(sentence="There are no ratings to summarise.", tables=tables)
    return Finding(
        figure=rating_intervals(summary),
        name="ratings",
        table=summary.round(1),
        numbers={
            f"{test} {scale}: {condition}": Number(row["median"])
            for (test, scale, condition), row in summary.iterrows()
        },
        tables=tables,
    )


def differences_finding(verdict: Verdict) -> Finding:
    """Say which differences between conditions are significant."""
    differences = verdict.differences
    tables = {"listening_differences": differences}
    if differences.empty:
        return Finding(sentence="There are no differences to test.", tables=tables)
    groups = differences.groupby(["test", "scale"], sort=False)
    sentences = [
        _significance(test, scale, verdict.rated.loc[(test, scale)], compared)
        for (test, scale), compared in groups
    ]
    return Finding(sentence="\n".join(sentences), table=differences.round(4), tables=tables)


def _significance(test: str, scale: str, rated: pd.Series, compared: pd.DataFrame) -> str:
    raters = f"{_count(rated['listeners'], 'listener')}, {_count(rated['pages'], 'page')}"
    start = f"{test}, {scale} ({raters})"
    count = _count(len(compared), "difference")
    if compared["p"].isna().all():
        least = least_listeners(len(compared))
        return f"{start}: too few listeners to test {count}, which takes {least}."
    significant = int((compared["p_holm"] < LEVEL).sum())
    return f"{start}: {significant} of {count} between conditions with p < {LEVEL} after Holm."


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
