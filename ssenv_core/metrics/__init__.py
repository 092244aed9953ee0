"""Numbers of sounds: of one clip, of pairs, and of sets; no files and no figures."""
