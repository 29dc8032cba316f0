"""The command line. Commands import what they need when they run, so that `--help` is quick."""

from collections.abc import Callable

from zoo.cli import adapting, comparing, fcn, listing, running, study, training, weights
from zoo.cli.base import app

__all__ = ["app", "main"]

_COMMANDS: dict[str, Callable[..., None]] = {  # in the order of `zoo --help`
    "train": training.train,
    "translate": running.translate,
    "data": running.data,
    "cache": running.cache,
    "eval": running.evaluate,
    "adapt": adapting.adapt,
    "import": running.import_run,
    "pack": running.pack,
    "report": running.report,
    "compare": comparing.compare,
    "list": listing.list_parts,
    "show": listing.show,
    "version": listing.version,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(study.study, name="study")
app.add_typer(weights.app, name="weights")
app.add_typer(fcn.app, name="fcn")


def main() -> None:
    """Run the command line on `sys.argv`."""
    app(prog_name="zoo")
