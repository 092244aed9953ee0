"""The commands that run studies, show their parameters and fetch their data."""

import json
from collections.abc import Iterable
from pathlib import Path

import click

from ssenv_core.cli import options

params_file = click.argument(
    "params_path", type=click.Path(dir_okay=False, path_type=Path), metavar="PARAMS.yaml"
)
overrides_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="NAME=VALUE",
    help="Replace a value of the file; may be repeated.",
)


@click.command()
@params_file
@overrides_option
@click.option(
    "--force",
    is_flag=True,
    help="Run every step, changed or not; remove the states of finished trainings to train anew.",
)
@click.option(
    "--from",
    "start",
    metavar="03",
    help="As --force for this step and those after it; leave those before it alone.",
)
@click.option("--only", metavar="04", help="As --force for this step; leave the others alone.")
def run(
    params_path: Path, overrides: tuple[str, ...], force: bool, start: str | None, only: str | None
) -> None:
    """Run the notebooks of a study.

    Steps whose code, parameters and files have not changed are skipped.
    """
    if start is not None and only is not None:
        raise click.UsageError("--from and --only exclude each other")
    from ssenv_core.study.params_files import parse_override
    from ssenv_core.study.running import run_study

    run_study(
        params_path, dict(map(parse_override, overrides)), force=force, start=start, only=only
    )


@click.command("params")
@params_file
@overrides_option
def show_params(params_path: Path, overrides: tuple[str, ...]) -> None:
    """Print every parameter of a study as YAML.

    A comment names the source of each value: a file, --set, or a notebook's default.
    """
    from ssenv_core.base.folders import project_root
    from ssenv_core.study.params_files import parse_override
    from ssenv_core.study.reading import params_as_yaml

    values = dict(map(parse_override, overrides))
    click.echo(params_as_yaml(params_path, values, project_root()), nl=False)


@click.command()
@params_file
@click.argument("axes", nargs=-1, metavar="[NAME=VALUE,VALUE,...]...")
@click.option(
    "--grid",
    multiple=True,
    metavar="NAME=VALUE,VALUE,...",
    help="Values to combine with all others; more may follow.",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=VALUE,VALUE,...",
    help="Values to try one at a time; more may follow.",
)
@overrides_option
def sweep(
    params_path: Path,
    axes: tuple[str, ...],
    grid: tuple[str, ...],
    vary: tuple[str, ...],
    overrides: tuple[str, ...],
) -> None:
    """Run a study for several values of some parameters.

    For every combination of values: --grid fold=1,2,3 guidance=1,3 makes six studies. Or as it is
    and with each value alone: --vary ema_decay=0 crop_frames=null,256 makes four.

    Each is a study named after its values. Steps that the changed parameters do not reach run once.
    """
    from ssenv_core.study.params_files import parse_override
    from ssenv_core.study.sweep import (
        every_combination,
        one_at_a_time,
        parse_axis,
        run_sweep,
        sweep_table,
    )

    if grid and vary:
        raise click.UsageError("--grid and --vary exclude each other")
    if not grid and not vary:
        raise click.UsageError("name the values to sweep with --grid or --vary")
    choose = every_combination if grid else one_at_a_time
    choices = choose(_by_name(map(parse_axis, (*grid, *vary, *axes))))
    studies = run_sweep(params_path, choices, dict(map(parse_override, overrides)))
    click.echo(f"\n{sweep_table(studies)}\n")
    click.echo(f"notebooks/90_summary shows them with studies = {json.dumps(studies)}")


def _by_name(axes: Iterable[tuple[str, list]]) -> dict[str, list]:
    values_by_name: dict[str, list] = {}
    for name, values in axes:
        if name in values_by_name:
            raise click.BadParameter(f"{name} is named twice", param_hint="--grid or --vary")
        values_by_name[name] = values
    return values_by_name


@click.command()
@click.argument("dataset")
@options.data_root
def download(dataset: str, data_root: Path) -> None:
    """Fetch a dataset, verify and unpack it.

    An interrupted download is continued. A wrong DATASET lists those that can be fetched.
    """
    from ssenv_core.data.download import download as fetch

    click.echo(fetch(dataset, data_root))
