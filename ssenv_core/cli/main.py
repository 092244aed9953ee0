"""The group of all commands, which turns an error into one line."""

import click

from ssenv_core.base.errors import SsenvError
from ssenv_core.cli import measures, sounds, study


class Commands(click.Group):
    """A group that reports the failure of a command in one line, without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except SsenvError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)
        except KeyboardInterrupt:
            click.echo("interrupted: finished work is kept; run the same command again", err=True)
            ctx.exit(130)


@click.group(
    cls=Commands, context_settings={"show_default": True, "help_option_names": ["-h", "--help"]}
)
@click.version_option(package_name="ssenv")
def main() -> None:
    """A study of SoundStorm on environmental sound: run it, or apply its parts to audio files."""


for command in (
    study.run,
    study.sweep,
    study.show_params,
    study.download,
    sounds.generate,
    sounds.export,
    sounds.classify,
    sounds.reconstruct,
    measures.evaluate,
    measures.baselines,
):
    main.add_command(command)
