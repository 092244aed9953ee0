"""The results known before are read from the rows that they name."""

import pandas as pd

from ssenv_core.evaluation.start_findings import known_results


def test_the_rate_is_compared_with_the_native_rate_and_the_codec_with_the_resampled_clips() -> None:
    table = pd.DataFrame(
        {
            "snr": [10.0, 8.0, 9.0],
            "spectral_centroid": [4000.0, 3000.0, 2700.0],
            "snr_percent": [25.0, 0.0, 12.5],
            "spectral_centroid_percent": [33.0, 0.0, -10.0],
            "right": [float("nan"), 0.8, 0.7],
        },
        index=["real 44.1 kHz", "real", "melrvq_24khz 6 kbps"],
    )
    sentence = known_results(table).sentence
    assert '"SNR" by -20 % and the spectral centroid by -25 %' in sentence
    assert "changes them by +12 and -10 %" in sentence
    assert "80.0% of the real clips correctly and 70.0% of them through the codec" in sentence
