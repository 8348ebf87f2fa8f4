"""Commands that show: the dashboards, their still copy, the maturity assessment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cdpkit.cli.app import Home, app, clock, open_workspace
from cdpkit.errors import CdpkitError


@app.command()
def dashboards(
    home: Home = "", port: Annotated[int, typer.Option(help="Loopback port; 0 takes a free one.")] = 8866
) -> None:
    """Serve the dashboards on this machine, behind a token."""
    from cdpkit.ui import server

    server.main(open_workspace(home), port=port, say=typer.echo, clock=clock)


@app.command()
def report(
    out: Annotated[str, typer.Option(help="Folder to write.")] = "report",
    home: Home = "",
    pdf: Annotated[bool, typer.Option("--pdf", help="Each page on paper too; needs Chromium.")] = False,
) -> None:
    """Write every page as files for those who only read: no server, no token, nobody's data."""
    from cdpkit.ui import printing, still

    written = still.write(open_workspace(home), Path(out))
    if pdf:
        written += [printing.pdf(page, page.with_suffix(".pdf")) for page in written]
    typer.echo(f"Wrote {len(written)} files to {out}. Open {written[0]}.")


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
    payload = published(open_workspace(home)).read("maturity")
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

    workspace = open_workspace(home)
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
