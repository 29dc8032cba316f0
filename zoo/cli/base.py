"""What the commands share: the application, options, and how a mistake is told."""

import importlib.util
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from zoo.registry import UserError

Weights = Literal["auto", "raw", "ema"]
Run = Annotated[Path, typer.Argument(help="run folder, or the name of a shipped run")]
AsJson = Annotated[bool, typer.Option("--json", help="plain JSON instead of a table")]


class _Group(typer.core.TyperGroup):
    """Prints a user's mistake without a traceback and exits with code 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            fail(str(error))
        except (PermissionError, NotADirectoryError, IsADirectoryError) as error:
            fail(f"{error.filename}: {error.strerror}")


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Unpaired image translation, from the recipe to the report.",
)


def fail(message: str, code: int = 2) -> NoReturn:
    """End the command with a message on stderr."""
    console = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)
    console.print(f"[bold red]error:[/] {escape(message)}")
    raise typer.Exit(code)


@app.callback()
def _configure_logging() -> None:
    handler = RichHandler(
        console=Console(stderr=True), show_path=False, show_time=False, omit_repeated_times=False
    )
    first = os.environ.get("RANK", "0") == "0"
    for name in ("zoo", "eval"):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO if first else logging.ERROR)


def eval_module(module: str) -> ModuleType:
    """A module of Zoo's package `eval`.

    Raises:
        UserError: another `eval` is found before it.
    """
    spec = importlib.util.find_spec("eval")
    ours = Path(__file__).resolve().parents[2] / "eval" / "__init__.py"
    origin = spec.origin if spec else None
    if origin is None or Path(origin).resolve() != ours:
        raise UserError(
            f"scores and reports need Zoo's package eval, {ours.parent}, but Python finds "
            f"{origin or 'none'} first; rename that or start from another folder"
        )
    return importlib.import_module(f"eval.{module}")


def show_rows(objects: Any, columns: Sequence, rows: Sequence, as_json: bool) -> None:
    """Print `objects` as JSON, or `rows` under `columns`."""
    if as_json:
        typer.echo(json.dumps(objects, indent=2))
        return
    from zoo.tables import print_table

    print_table(columns, rows)
