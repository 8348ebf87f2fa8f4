"""Commands that run notebooks and look a workspace over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdpkit.cli.app import (
    AsOf,
    Home,
    Parameters,
    Source,
    app,
    check_date,
    clock,
    existing,
    open_workspace,
    pairs,
    source_name,
)
from cdpkit.cli.pages import dashboards
from cdpkit.errors import CdpkitError

if TYPE_CHECKING:
    from cdpkit.notebooks import Verdict
    from cdpkit.workspace import Workspace


@app.command()
def run(
    topic: Annotated[str, typer.Argument(help="`nightly`, or the topic of a notebook, such as appetence.")],
    parameter: Parameters = [],  # noqa: B006
    source: Source = "",
    path: Annotated[str, typer.Option(help="File or folder of the source.")] = "",
    home: Home = "",
    as_of: AsOf = "",
    only: Annotated[list[str], typer.Option(help="nightly: run this topic only, as often as needed.")] = [],  # noqa: B006
    all_: Annotated[bool, typer.Option("--all", help="nightly: every notebook, not the core alone.")] = False,
    resume: Annotated[
        bool, typer.Option(help="nightly: keep the steps that the failed night completed.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds each notebook may take.")] = 3600.0,
) -> None:
    """Run a notebook, or all of a night in order, and publish the result if it is whole."""
    if as_of:
        check_date(as_of)
    common = {"as_of": as_of, "source": source_name(source), "path": str(existing(path)) if path else ""}
    workspace = open_workspace(home, source)
    named = {name: value for name, value in common.items() if value}
    if topic == "nightly":
        night(
            workspace, pairs(parameter), only=only or None, all=all_, resume=resume, timeout=timeout, **named
        )
    if only or all_ or resume:
        raise CdpkitError("--only, --all and --resume must go with `nightly`", got=f"topic {topic!r}")
    from cdpkit.notebooks import run as run_notebook

    verdict = run_notebook(
        topic, {**named, **pairs(parameter)}, workspace, timeout=timeout, holder=f"cdpkit run {topic}"
    )
    typer.echo(_line(verdict))
    raise typer.Exit(verdict.exit_code)


def night(workspace: Workspace, parameters: dict[str, str], **options: Any) -> None:
    """Run a night with progress, and end with its exit code."""
    from cdpkit.notebooks import nightly

    result = nightly(workspace, parameters=parameters, progress=_progress, now=clock(), **options)
    if result.ok:
        typer.echo(f"Published {result.snapshot}. Report: {result.report}")
    else:
        typer.echo(f"cdpkit: run {result.run_id} failed: {result.reason}. Report: {result.report}", err=True)
    raise typer.Exit(result.exit_code)


def _progress(number: int, total: int, topic: str, verdict: Verdict | None) -> None:
    """Say where the night is."""
    if verdict is None:
        typer.echo(f"[{number}/{total}] {topic} …")
    else:
        typer.echo(f"[{number}/{total}] {_line(verdict)}")


def _line(verdict: Verdict) -> str:
    """Return a verdict in a line."""
    where = f" in cell {verdict.cell}" if verdict.cell else ""
    why = f" ({verdict.kind}{where}: {verdict.reason})" if verdict.kind else ""
    why = f" ({verdict.reason})" if verdict.reason and not verdict.kind else why
    return f"{verdict.topic} {verdict.status} in {verdict.seconds:.1f} s{why}"


@app.command()
def status(
    home: Home = "", json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False
) -> None:
    """Say what is published, by which run, and who writes now."""
    from cdpkit.notebooks import report

    workspace = open_workspace(home)
    found = workspace.lake().status()
    folders = sorted(workspace.outputs.iterdir()) if workspace.outputs.is_dir() else []
    reports = [content for folder in folders if (content := report.read(folder)) is not None]
    last = reports[-1] if reports else None
    found["last_night"] = None if last is None else {key: last[key] for key in ("run_id", "status")}
    if json_:
        typer.echo(json.dumps(found, indent=1))
        return
    typer.echo(f"Workspace {found['home']}: snapshot {found['snapshot'] or 'none published yet'}")
    for name, table in found["tables"].items():
        if table["rows"]:
            typer.echo(f"  {name:<24}{table['rows']:>12,} rows")
    if found["lock"]:
        typer.echo(f"Written now by {found['lock'].get('holder')}, run {found['lock'].get('run_id')}")
    if last is not None:
        typer.echo(f"Last night {last['run_id']}: {last['status']}")


@app.command()
def demo(
    persons: Annotated[int, typer.Option(help="Persons of the generated world.")] = 5000,
    seed: Annotated[int, typer.Option(help="Randomness of the world.")] = 0,
    home: Home = "",
    all_: Annotated[bool, typer.Option("--all", help="Every notebook, not the core alone.")] = False,
    serve: Annotated[bool, typer.Option(help="Serve the dashboards afterwards.")] = True,
    port: Annotated[int, typer.Option(help="Loopback port of the dashboards.")] = 8866,
) -> None:
    """Generate a retailer's exports, run the night on them, and serve the dashboards."""
    from cdpkit import world

    workspace = open_workspace(home)
    typer.echo(f"Generating {persons:,} persons …")
    world.generate(n_persons=persons, seed=seed).write(workspace.raw, workspace.truth)
    try:
        night(workspace, {}, source="world", path=workspace.raw, all=all_)
    except typer.Exit as end:
        if end.exit_code or not serve:
            raise
    dashboards(home=str(workspace.home), port=port)


@app.command()
def doctor(
    home: Home = "",
    relocate: Annotated[
        bool, typer.Option(help="Mend the addresses of models after the folder moved.")
    ] = False,
) -> None:
    """Look a workspace over: mark dead runs, and check that champions are what was registered."""
    from cdpkit import tracking

    workspace = open_workspace(home)
    if relocate:
        typer.echo(f"Mended {tracking.doctor_relocate(workspace)} addresses.")
    marked = tracking.reap(workspace, now=clock())
    typer.echo(f"Marked {len(marked)} dead runs as failed.")
    for topic in tracking.champions(workspace):
        entry = tracking.verify(topic, workspace=workspace)
        typer.echo(
            f"{topic}: champion is version {entry.version}, its {len(entry.files)} files are as registered."
        )
