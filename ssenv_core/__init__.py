"""ssenv: SoundStorm, parallel masked generation of neural-codec tokens, on environmental sound.

The notebooks hold the study's narrative; this package holds everything with a loop or a branch worth testing. Imports go only
downwards: study/cli -> plots/widgets -> failure_modes -> training/generation/classification -> soundstorm/metrics -> codecs/datasets/tokens
-> audio/params/artifacts.
"""
