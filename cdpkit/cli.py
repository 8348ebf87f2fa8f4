"""The command line: a thin door to what the library does."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdpkit.errors import CdpkitError

if TYPE_CHECKING:
    from cdpkit.notebooks import Verdict
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
        _check_date(as_of)
    common = {"as_of": as_of, "source": _contract(source), "path": str(_existing(path)) if path else ""}
    workspace = _workspace(home, source)
    named = {name: value for name, value in common.items() if value}
    if topic == "nightly":
        _night(
            workspace, _pairs(parameter), only=only or None, all=all_, resume=resume, timeout=timeout, **named
        )
    if only or all_ or resume:
        raise CdpkitError("--only, --all and --resume must go with `nightly`", got=f"topic {topic!r}")
    from cdpkit.notebooks import run as run_notebook

    verdict = run_notebook(
        topic, {**named, **_pairs(parameter)}, workspace, timeout=timeout, holder=f"cdpkit run {topic}"
    )
    typer.echo(_line(verdict))
    raise typer.Exit(verdict.exit_code)


def _night(workspace: Workspace, parameters: dict[str, str], **options: Any) -> None:
    """Run a night with progress, and end with its exit code."""
    from cdpkit.notebooks import nightly

    result = nightly(workspace, parameters=parameters, progress=_progress, now=_now(), **options)
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


def _now() -> datetime:
    """Return the time, which enters here and nowhere else."""
    return datetime.now(UTC).replace(tzinfo=None)


def _pairs(texts: list[str]) -> dict[str, str]:
    """Return name=value texts as a mapping."""
    pairs = [text.partition("=") for text in texts]
    bad = [name for name, sign, _ in pairs if not sign or not name]
    if bad:
        raise CdpkitError("`-p` must be given as name=value", got=", ".join(bad))
    return {name: value for name, _, value in pairs}


def _workspace(home: str, source: str = "") -> Workspace:
    """Return the workspace asked for."""
    from cdpkit.workspace import Workspace

    workspace = Workspace.open(home)
    if not source or home:
        return workspace
    if source.endswith(".toml"):
        from cdpkit.sources import Contract

        source = Contract.read(_contract(source)).source
    return workspace.for_source(source)


def _contract(source: str) -> str:
    """Return a source's name as it is, and a contract's path whole: notebooks run elsewhere."""
    return str(_existing(source)) if source.endswith(".toml") else source


def _existing(path: str) -> Path:
    """Return a path that exists, whole."""
    whole = Path(path).absolute()
    if not whole.exists():
        raise CdpkitError("a file or folder given must exist", got=path)
    return whole


def _check_date(text: str) -> None:
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


@app.command()
def status(
    home: Home = "", json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False
) -> None:
    """Say what is published, by which run, and who writes now."""
    from cdpkit.notebooks import report

    workspace = _workspace(home)
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

    workspace = _workspace(home)
    typer.echo(f"Generating {persons:,} persons …")
    world.generate(n_persons=persons, seed=seed).write(workspace.raw, workspace.truth)
    try:
        _night(workspace, {}, source="world", path=workspace.raw, all=all_)
    except typer.Exit as end:
        if end.exit_code or not serve:
            raise
    dashboards(home=str(workspace.home), port=port)


@app.command()
def dashboards(
    home: Home = "", port: Annotated[int, typer.Option(help="Loopback port; 0 takes a free one.")] = 8866
) -> None:
    """Serve the dashboards on this machine, behind a token."""
    from cdpkit.ui import server

    server.main(_workspace(home), port=port, say=typer.echo, clock=_now)


@app.command()
def report(
    out: Annotated[str, typer.Option(help="Folder to write.")] = "report",
    home: Home = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="Each page on paper too; needs Chromium.")] = False,
) -> None:
    """Write every page as files for those who only read: no server, no token, nobody's data."""
    from cdpkit.ui import printing, still

    written = still.write(_workspace(home), Path(out))
    if pdf:
        written += [printing.pdf(page, page.with_suffix(".pdf")) for page in written]
    typer.echo(f"Wrote {len(written)} files to {out}. Open {written[0]}.")


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
    workspace = _workspace(home)
    named = processors(workspace).get(processor)
    if processor and named is None:
        raise CdpkitError("`--processor` must be declared in data/processors.toml", got=processor)
    options: dict[str, Any] = {"to": to, "purpose": purpose, "processor": named, "value_model": value_model}
    options["sent_on"] = datetime.fromisoformat(sent_on) if sent_on else _now()
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
    done = _workspace(home).lake().erase_records(pairs, alone=alone)
    typer.echo(
        f"Erased {done.records} records of {done.persons} persons: {sum(done.rows.values())} rows in"
        f" {len(done.rows)} tables, {len(done.files)} files cleaned. Published {done.snapshot}."
    )
    if done.shared:
        typer.echo(f"{done.shared} identifiers stay where other records carry them too.")
    for name in done.unsearched:
        typer.echo(f"Not searched, look at it yourself: {name}")


aside = typer.Typer(help="Records set aside by loads: list, look at, take in again.", no_args_is_help=True)
app.add_typer(aside, name="quarantine")


@aside.command("list")
def quarantine_list(
    home: Home = "", source: Annotated[str, typer.Option(help="This source only.")] = ""
) -> None:
    """Count what is set aside, by file and reason."""
    from cdpkit.engine import DuckDBEngine
    from cdpkit.sources import held

    with DuckDBEngine(_workspace(home).lake()) as engine:
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
    with DuckDBEngine(_workspace(home).lake()) as engine:
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

    workspace = _workspace(home, source)
    folder = _existing(path) if path else workspace.raw if workspace.raw.is_dir() else None
    with Run.begin(workspace, "replay", holder="cdpkit quarantine replay") as run:
        done = replay(run, _contract(source), folder)
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

    workspace = _workspace(home, source)
    contracts = contracts_of(_contract(source) if source else "world")
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
    """Delete what is past the term its source's contract declares, from every snapshot."""
    from cdpkit import governance
    from cdpkit.run import Run

    workspace, now = _workspace(home, source), datetime.fromisoformat(at) if at else _now()
    with Run.begin(workspace, "expire", holder="cdpkit expire") as run:
        with run.engine() as engine:
            gone = governance.due(engine, now)
        if not dry and len(gone):
            gone = governance.expire(run, now)
            snapshot = run.finish(release=False)
            run.lake.forget({snapshot.id} if snapshot else set())
    verb = "would go" if dry else "deleted"
    for row in gone.to_dict("records"):
        typer.echo(f"{row['source']}.{row['table']}: {row['rows']:,} before {row['limit']:%Y-%m-%d} {verb}")
    if gone.empty:
        typer.echo("Nothing is past its term.")


@app.command()
def doctor(
    home: Home = "",
    relocate: Annotated[
        bool, typer.Option(help="Mend the addresses of models after the folder moved.")
    ] = False,
) -> None:
    """Look a workspace over: mark dead runs, and check that champions are what was registered."""
    from cdpkit import tracking

    workspace = _workspace(home)
    if relocate:
        typer.echo(f"Mended {tracking.doctor_relocate(workspace)} addresses.")
    marked = tracking.reap(workspace, now=_now())
    typer.echo(f"Marked {len(marked)} dead runs as failed.")
    for topic in tracking.champions(workspace):
        entry = tracking.verify(topic, workspace=workspace)
        typer.echo(
            f"{topic}: champion is version {entry.version}, its {len(entry.files)} files are as registered."
        )


maturity_app = typer.Typer(help="The maturity assessment, to keep and to compare.", no_args_is_help=True)
app.add_typer(maturity_app, name="maturity")


@maturity_app.command("export")
def maturity_export(
    out: Annotated[str, typer.Argument(help="File to write; its ending says how: .json, .html or .pdf.")],
    home: Home = "",
) -> None:
    """Write the published assessment as JSON, as a page of its own, or on paper (needs Chromium)."""
    from cdpkit.ui.published import published

    target = Path(out)
    if target.suffix not in (".json", ".html", ".pdf"):
        raise CdpkitError("a file must end in .json, .html or .pdf", got=target.suffix or "no ending")
    payload = published(_workspace(home)).read("maturity")
    if payload is None:
        raise CdpkitError("an assessment must be published", "none yet", "Run `cdpkit run maturity`")
    if target.suffix == ".json":
        target.write_text(json.dumps(payload, indent=1, ensure_ascii=False), encoding="utf-8")
    else:
        from cdpkit.ui import printing, still

        page = target.with_suffix(".html")
        kept = page.exists()
        page.write_text(still.one("maturity", payload, []), encoding="utf-8")
        if target.suffix == ".pdf":
            printing.pdf(page, target)
            if not kept:
                page.unlink()
    typer.echo(f"Wrote {out}.")


@maturity_app.command("compare")
def maturity_compare(
    before: Annotated[
        str, typer.Option(help="Day of the earlier assessment; by default the last but one.")
    ] = "",
    after: Annotated[str, typer.Option(help="Day of the later one; by default the last.")] = "",
    home: Home = "",
) -> None:
    """Set two assessments side by side, what waits for the next run included."""
    from cdpkit import maturity
    from cdpkit.engine import DuckDBEngine

    workspace = _workspace(home)
    with DuckDBEngine(workspace.lake()) as engine:
        past = maturity.history(engine, workspace)
    days = past["decided_at"].astype("str").str[:10]
    chosen = [
        past[days == day] if day else past.iloc[place : place + 1 or None]
        for day, place in ((before, -2), (after, -1))
    ]
    if len(past) < 2 or any(one.empty for one in chosen):
        raise CdpkitError("two assessments must be kept", got=f"those of {', '.join(days) or 'no day'}")
    sets = [one["answers"].iloc[-1] for one in chosen]
    for one, answers in zip(chosen, sets, strict=True):
        typer.echo(f"{one['decided_at'].iloc[-1]:%Y-%m-%d}: {maturity.assess(answers).sentence('en')}")
    for row in maturity.changes(*sets).dropna(subset="change").query("change != 0").itertuples():
        typer.echo(f"  {row.name_en}: {row.before:.0f} -> {row.after:.0f}")


source_app = typer.Typer(
    help="Describe the exports of a source, and try the description.", no_args_is_help=True
)
app.add_typer(source_app, name="source")


@source_app.command("guess")
def source_guess(file: Annotated[str, typer.Argument(help="A file of the source.")]) -> None:
    """Propose a contract from the first records of a file; what is not proven stands at its head."""
    from cdpkit import sources

    typer.echo(sources.guess(_existing(file)).toml, nl=False)


@source_app.command("check")
def source_check(
    contract: Annotated[str, typer.Argument(help="A contract (TOML), or the name of a source.")],
    path: Annotated[str, typer.Argument(help="File or folder to try it on, without writing.")] = "",
) -> None:
    """Explain what a contract does, and list every fault it would meet."""
    from cdpkit import sources
    from cdpkit.sources.registry import contracts_of

    contracts = contracts_of(_contract(contract))
    for one in contracts:
        typer.echo("\n".join(sources.explain(one)))
    for tried in sources.check(contracts, _existing(path)) if path else []:
        typer.echo(f"{tried.dataset} ({tried.file}): {tried.good:,} of {tried.records_in:,} records good")
        for reason, n in tried.reasons.most_common():
            typer.echo(f"  {n:,} would be set aside: {reason}")


if __name__ == "__main__":
    main()
