"""Numbers of sound: `acoustic` and `spectrotemporal` (one clip), `similarity` (a pair of clips), `stats` and
`frechet` (two sets of clips).

Pure functions of waveforms and tables; they read no files and draw no figures.
"""
