"""A study: parameters, the run over its notebooks, its records, report, sweeps and summaries."""
