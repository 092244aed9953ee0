"""ssenv: SoundStorm, parallel masked generation of neural-codec tokens, for environmental sound.

The notebooks hold the narrative; this package holds everything with a loop or a branch worth
testing.
Its rooms import downwards only; README.md lists them.
"""
