"""Run the command line as `python -m ssenv_core.cli`."""

from ssenv_core.cli.main import main

main()
