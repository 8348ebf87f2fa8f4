"""Commands on what comes in and what goes out: sources, quarantine, catalogue, exports, ends of life."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cdpkit.cli.app import Home, Source, app, clock, existing, open_workspace, source_name
from cdpkit.errors import CdpkitError

source_app = typer.Typer(
    help="Describe the exports of a source, and try the description.", no_args_is_help=True
)
app.add_typer(source_app, name="source")


@source_app.command("guess")
def source_guess(file: Annotated[str, typer.Argument(help="A file of the source.")]) -> None:
    """Propose a contract from the first records of a file; what is not proven stands at its head."""
    from cdpkit import sources

    typer.echo(sources.guess(existing(file)).toml, nl=False)


@source_app.command("check")
def source_check(
    contract: Annotated[str, typer.Argument(help="A contract (TOML), or the name of a source.")],
    path: Annotated[str, typer.Argument(help="File or folder to try it on, without writing.")] = "",
) -> None:
    """Explain what a contract does, and list every fault it would meet."""
    from cdpkit import sources
    from cdpkit.sources.registry import contracts_of

    contracts = contracts_of(source_name(contract))
    for one in contracts:
        typer.echo("\n".join(sources.explain(one)))
    for tried in sources.check(contracts, existing(path)) if path else []:
        typer.echo(f"{tried.dataset} ({tried.file}): {tried.good:,} of {tried.records_in:,} records good")
        for reason, n in tried.reasons.most_common():
            typer.echo(f"  {n:,} would be set aside: {reason}")


aside = typer.Typer(help="Records set aside by loads: list, look at, take in again.", no_args_is_help=True)
app.add_typer(aside, name="quarantine")


@aside.command("list")
def quarantine_list(
    home: Home = "", source: Annotated[str, typer.Option(help="This source only.")] = ""
) -> None:
    """Count what is set aside, by file and reason."""
    from cdpkit.engine import DuckDBEngine
    from cdpkit.sources import held

    with DuckDBEngine(open_workspace(home).lake()) as engine:
        rows = held(engine, source or None)
    for row in rows.to_dict("records"):
        typer.echo(
            f"{row['records']:>8,}  {row['source']}.{row['dataset']} ({row['file_name']}): {row['reason']}"
        )
    if rows.empty:
        typer.echo("Nothing is set aside.")


@aside.command("show")
def quarantine_show(
    dataset: Annotated[str, typer.Argument(help="Whose records, as source.dataset.")],
    home: Home = "",
    clear: Annotated[
        bool, typer.Option("--clear", help="As received, personal values included; on a terminal only.")
    ] = False,
    limit: Annotated[int, typer.Option(help="How many records.")] = 20,
) -> None:
    """Show records set aside: their shape, or with --clear the records as received."""
    from cdpkit.engine import DuckDBEngine
    from cdpkit.sources.replay import shown

    if clear and not sys.stdout.isatty():
        raise CdpkitError(
            "`--clear` must write to a terminal", got="a file or a pipe", do="Personal values are not kept"
        )
    source, _, name = dataset.partition(".")
    with DuckDBEngine(open_workspace(home).lake()) as engine:
        for file, line, reasons, text in shown(engine, source, name, clear=clear, limit=limit):
            typer.echo(f"{file}:{line}  {'; '.join(reasons)}\n    {text}")


@aside.command("replay")
def quarantine_replay(
    source: Annotated[str, typer.Argument(help="Source, or path of its mended contract (TOML).")],
    home: Home = "",
    path: Annotated[str, typer.Option(help="Folder where the files may still be; default data/raw.")] = "",
) -> None:
    """Take in what passes under the contract as it is now; what does not stays."""
    from cdpkit.run import Run
    from cdpkit.sources import replay

    workspace = open_workspace(home, source)
    folder = existing(path) if path else workspace.raw if workspace.raw.is_dir() else None
    with Run.begin(workspace, "replay", holder="cdpkit quarantine replay") as run:
        done = replay(run, source_name(source), folder)
        snapshot = run.finish() if done["entered"].sum() else None
    for row in done.to_dict("records"):
        told = f"{row['entered']:,} in, {row['stayed']:,} stay, by {row['how']}"
        typer.echo(f"{row['source']}.{row['dataset']} ({row['file']}): {told}")
    typer.echo("Nothing new." if snapshot is None else f"Published {snapshot.id}.")


@app.command()
def catalogue(
    home: Home = "",
    source: Source = "",
    language: Annotated[str, typer.Option(help="fr or en.")] = "fr",
    out: Annotated[str, typer.Option(help="File to write, .html or .md; by default the screen.")] = "",
) -> None:
    """Write the catalogue of the data: every column, feature and tile, and the files it comes from."""
    from cdpkit import governance
    from cdpkit.engine import DuckDBEngine
    from cdpkit.sources.registry import contracts_of

    workspace = open_workspace(home, source)
    contracts = contracts_of(source_name(source) if source else "world")
    with DuckDBEngine(workspace.lake()) as engine:
        lineage = governance.Lineage.read(engine, contracts)
        limits = governance.retention(workspace.data / "retention.toml")
        write = "html" if out.endswith(".html") else "markdown"
        text = governance.page(engine, language, form=write, lineage=lineage, limits=limits)
    if out:
        Path(out).write_text(text, encoding="utf-8")
        typer.echo(f"Wrote {out}.")
    else:
        typer.echo(text)


@app.command()
def expire(
    home: Home = "",
    source: Source = "",
    at: Annotated[str, typer.Option(help="Today, as ISO; by default now.")] = "",
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would go, delete nothing.")] = False,
) -> None:
    """Delete what is past the term its source's contract declares, from every snapshot and data/raw."""
    from cdpkit import governance
    from cdpkit.run import Run

    workspace, now = open_workspace(home, source), datetime.fromisoformat(at) if at else clock()
    with Run.begin(workspace, "expire", holder="cdpkit expire") as run:
        with run.engine() as engine:
            gone = governance.due(engine, now)
            files = governance.past_files(engine, workspace.raw, now)
        if not dry and len(gone):
            gone = governance.expire(run, now)
            snapshot = run.finish(release=False)
            run.lake.forget({snapshot.id} if snapshot else set())
    verb = "would go" if dry else "deleted"
    for row in gone.to_dict("records"):
        typer.echo(f"{row['source']}.{row['table']}: {row['rows']:,} before {row['limit']:%Y-%m-%d} {verb}")
    for path, sources in files.items():
        if not dry:
            path.unlink()
        typer.echo(f"{', '.join(sources)}: {path.relative_to(workspace.raw)} {verb}")
    if gone.empty and not files:
        typer.echo("Nothing is past its term.")


@app.command()
def export(
    audience: Annotated[str, typer.Argument(help="A stored audience, such as hot_email.")],
    to: Annotated[str, typer.Option(help="Destination, such as google_customer_match.")],
    purpose: Annotated[str, typer.Option(help="What the file is for.")] = "activation",
    processor: Annotated[str, typer.Option(help="Who of data/processors.toml receives it in clear.")] = "",
    value_model: Annotated[str, typer.Option(help="Model whose score is the value.")] = "",
    sent_on: Annotated[str, typer.Option(help="Day it is sent, as ISO; by default today.")] = "",
    for_real: Annotated[bool, typer.Option("--for-real", help="Write it; by default it is tried.")] = False,
    home: Home = "",
) -> None:
    """Try an audience's file for a destination, or write it with its manifest and log."""
    from cdpkit.run import Run
    from cdpkit.segments.destinations import destination, processors
    from cdpkit.segments.export import export as write
    from cdpkit.segments.export import plan, stored

    destination(to)
    workspace = open_workspace(home)
    named = processors(workspace).get(processor)
    if processor and named is None:
        raise CdpkitError("`--processor` must be declared in data/processors.toml", got=processor)
    options: dict[str, Any] = {"to": to, "purpose": purpose, "processor": named, "value_model": value_model}
    options["sent_on"] = datetime.fromisoformat(sent_on) if sent_on else clock()
    if not for_real:
        from cdpkit.engine import DuckDBEngine

        with DuckDBEngine(workspace.lake()) as engine:
            tried = plan(engine, stored(engine, audience), **options)
        typer.echo(json.dumps(tried.manifest, indent=1, ensure_ascii=False))
        typer.echo(
            "Tried: nothing was written. --for-real writes it." if not tried.faults else "May not leave."
        )
        raise typer.Exit(1 if tried.faults else 0)
    with Run.begin(workspace, "export", holder="cdpkit export") as run:
        manifest = write(run, stored(run.engine(), audience), **options)
        run.finish({"activation": manifest["activation_id"]})
    typer.echo(f"{manifest['counts']['included']:,} rows in exports/{manifest['activation_id']}.")


@app.command()
def erase(
    records: Annotated[list[str], typer.Argument(help="Records of the person, as source:record_id.")],
    home: Home = "",
    alone: Annotated[
        bool, typer.Option(help="These records only, not all records of their persons.")
    ] = False,
) -> None:
    """Erase persons everywhere below the workspace, and refuse their records from now on."""
    pairs = [(source, record) for source, _, record in (text.partition(":") for text in records)]
    done = open_workspace(home).lake().erase_records(pairs, alone=alone)
    typer.echo(
        f"Erased {done.records} records of {done.persons} persons: {sum(done.rows.values())} rows in"
        f" {len(done.rows)} tables, {len(done.files)} files cleaned. Published {done.snapshot}."
    )
    if done.shared:
        typer.echo(f"{done.shared} identifiers stay where other records carry them too.")
    for name in done.unsearched:
        typer.echo(f"Not searched, look at it yourself: {name}")
