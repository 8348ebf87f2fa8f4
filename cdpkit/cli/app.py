"""The command line itself, and what its commands share: options, workspaces, the clock."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdpkit.errors import CdpkitError

if TYPE_CHECKING:
    from cdpkit.workspace import Workspace

app = typer.Typer(
    help="One customer reference, models that act on it, and dashboards.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Home = Annotated[str, typer.Option(help="Workspace; by default CDPKIT_HOME, or the project's folder.")]
Source = Annotated[str, typer.Option(help="Source to load, in its own workspace unless --home is given.")]
AsOf = Annotated[str, typer.Option(help="Date of the knowledge used, such as 2026-06-30.")]
Parameters = Annotated[list[str], typer.Option("--parameter", "-p", help="name=value, as often as needed.")]


def main() -> None:
    """Run the command line: exit 0 when the work is done, 1 when a run failed, 2 when it could not start."""
    try:
        app()
    except CdpkitError as error:
        typer.echo(f"cdpkit: {error}", err=True)
        sys.exit(2)


def clock() -> datetime:
    """Return the time, which enters here and nowhere else."""
    return datetime.now(UTC).replace(tzinfo=None)


def pairs(texts: list[str]) -> dict[str, str]:
    """Return name=value texts as a mapping."""
    pairs = [text.partition("=") for text in texts]
    bad = [name for name, sign, _ in pairs if not sign or not name]
    if bad:
        raise CdpkitError("`-p` must be given as name=value", got=", ".join(bad))
    return {name: value for name, _, value in pairs}


def open_workspace(home: str, source: str = "") -> Workspace:
    """Return the workspace asked for."""
    from cdpkit.workspace import Workspace

    workspace = Workspace.open(home)
    if not source or home:
        return workspace
    if source.endswith(".toml"):
        from cdpkit.sources import Contract

        source = Contract.read(source_name(source)).source
    return workspace.for_source(source)


def source_name(source: str) -> str:
    """Return a source's name as it is, and a contract's path whole: notebooks run elsewhere."""
    return str(existing(source)) if source.endswith(".toml") else source


def existing(path: str) -> Path:
    """Return a path that exists, whole."""
    whole = Path(path).absolute()
    if not whole.exists():
        raise CdpkitError("a file or folder given must exist", got=path)
    return whole


def check_date(text: str) -> None:
    """Refuse what is not a date before anything runs."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise CdpkitError("`--as-of` must be a date such as 2026-06-30", got=text) from None


def _version(asked: bool) -> None:
    """Say the version and stop."""
    if asked:
        from cdpkit import __version__

        typer.echo(f"cdpkit {__version__}")
        raise typer.Exit


@app.callback()
def cdpkit(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
) -> None:
    """One customer reference, models that act on it, and dashboards."""
