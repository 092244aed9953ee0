"""A listening test of short noises, and ratings of it, for the tests that need one."""

from datetime import UTC, datetime

import numpy as np

from ssenv_core.evaluation.listening.design import (
    REFERENCE,
    SCALES,
    Coded,
    ListeningTest,
    Recording,
    choose_recordings,
    listener_pages,
    make_test,
)

RATE = 24_000
CODECS = ("codec 1.5 kbps", "codec 6 kbps")


def noise(seed: int, seconds: float = 0.2) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(
        np.float32
    )


def recordings(
    side: str, classes: int, each: int, seed: int = 0, seconds: float = 0.2
) -> list[Recording]:
    return [
        Recording(
            f"class_{label}", f"{side}-{label}-{i}", noise(1000 * seed + 10 * label + i, seconds)
        )
        for label in range(classes)
        for i in range(each)
    ]


def tiny_test(
    seed: int = 0,
    *,
    classes: int = 4,
    each: int = 3,
    items: int = 2,
    seconds: float = 0.2,
    codec: str = "a hash",
) -> ListeningTest:
    """Two pages of mushra, two of fit, two of diversity."""
    real, generated = (
        recordings("real", classes, each, 1, seconds),
        recordings("made", classes, each, 2, seconds),
    )
    choice = choose_recordings(
        real, generated, mushra_items=items, fit_classes=2, fit_clips=2, seed=seed
    )
    items = (choice.training, *choice.items)
    through = {
        name: Coded(codec, {item.name: item.wav + gain * noise(99, seconds) for item in items})
        for name, gain in zip(CODECS, (0.5, 0.1), strict=True)
    }
    return make_test(choice, through, RATE, seed)


def rate(
    test: ListeningTest, listener: str, scores: dict[str, float], spread: float = 0, seed: int = 0
) -> list[dict]:
    """Ratings of a listener who scores each condition with a deviation of `spread`."""
    rng = np.random.default_rng(seed)
    rows = []
    for trial, page in enumerate(listener_pages(test, listener), 1):
        about = {
            "listener": listener,
            "test": page.test,
            "version": test.version,
            "page": page.name,
            "trial": trial,
        }
        about |= {"seconds": 30.5, "time": datetime(2026, 1, 1, tzinfo=UTC).isoformat()}
        for stimulus in page.stimuli:
            for scale in SCALES[page.test]:
                score = scores[stimulus.condition] + (
                    0 if stimulus.condition == REFERENCE else spread * rng.standard_normal()
                )
                rows.append(
                    about
                    | {
                        "stimulus": stimulus.name,
                        "scale": scale,
                        "score": int(np.clip(round(score), 0, 100)),
                    }
                )
    return rows
