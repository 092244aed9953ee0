"""The numbers of "Adapting SoundStorm for Environmental Sound Generation", course report, 2024.

The values are those of its results files; its README prints wrong deviations for some of them. How
they were computed was found by recomputing them: see `evaluation.replication`.
"""

import pandas as pd

GENERATED_RATE = 24_000  # Hz
REAL_RATE = 44_100  # Hz: ESC-50's own
REAL_FOLD = 2  # of ESC-50, although the report says fold 1
REAL_CLIPS = 100  # the first ones of the fold by file name
PADDED_FRAMES = 1024  # its training pads all clips to this many frames with code 0, as targets too

# mean and population standard deviation over 100 clips of either side, KS D between them
ACOUSTIC = pd.DataFrame.from_dict(
    {
        "snr": (14.9688, 8.0978, 23.1849, 3.5028, 0.63),
        "zcr": (0.0673, 0.0746, 0.0224, 0.0044, 0.64),
        "rms": (0.1047, 0.0878, 0.0681, 0.0101, 0.45),
        "spectral_entropy": (9.8452, 0.8006, 8.9114, 0.3852, 0.63),
        "spectral_centroid": (3089.7409, 1959.8685, 1391.7807, 330.4485, 0.62),
        "spectral_rolloff": (5735.4300, 3619.9786, 3258.8520, 966.8730, 0.54),
    },
    orient="index",
    columns=["real_mean", "real_std", "generated_mean", "generated_std", "ks_d"],
)
