"""The catalogue: every column held, what it means, whose it is, how long it is kept and where it is from."""

from __future__ import annotations

import html
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import CdpkitError
from cdpkit.features import FeatureSet
from cdpkit.features import catalogue as standard_features
from cdpkit.governance.lineage import Lineage, reads
from cdpkit.phrases import check_language
from cdpkit.schema import PII, TABLES

if TYPE_CHECKING:
    import pandas as pd

_WORDS = {
    "fr": {
        "title": "Catalogue des données", "snapshot": "Instantané", "rows": "lignes", "table": "Table",
        "column": "Colonne", "meaning": "Signification", "type": "Type", "pii": "Donnée personnelle",
        "retention_days": "Conservation (jours)", "sources": "Sources", "files": "Fichiers",
        "features": "Variables calculées", "tiles": "Tableaux de bord", "reads": "Lit", "none": "aucune",
        "version": "version",
    },
    "en": {
        "title": "Data catalogue", "snapshot": "Snapshot", "rows": "rows", "table": "Table",
        "column": "Column", "meaning": "Meaning", "type": "Type", "pii": "Personal data",
        "retention_days": "Kept (days)", "sources": "Sources", "files": "Files",
        "features": "Computed features", "tiles": "Dashboards", "reads": "Reads", "none": "none",
        "version": "version",
    },
}  # fmt: skip
_PII = {
    "fr": {"none": "non", "pseudonym": "pseudonyme", "identifier": "identifiant", "personal": "identité",
           "text": "texte libre", "sensitive": "sensible"},
    "en": {"none": "no", "pseudonym": "pseudonym", "identifier": "identifier", "personal": "identity",
           "text": "free text", "sensitive": "sensitive"},
}  # fmt: skip


def retention(path: str | Path | None = None) -> dict[str, dict[str, Any]]:
    """Return how long each class of personal data is kept, and why.

    Parameters
    ----------
    path : str or Path, optional
        A TOML file of the same form; what it says wins. One that does not exist changes nothing.

    Raises
    ------
    CdpkitError
        When a class is unknown, or a limit is no whole number of days.

    Examples
    --------
    >>> retention()["identifier"]["days"]
    1095
    """
    text = files("cdpkit.governance").joinpath("retention.toml").read_text(encoding="utf-8")
    own = Path(path) if path is not None else None
    found = tomllib.loads(text)
    for name, entry in (tomllib.loads(own.read_text("utf-8")) if own and own.is_file() else {}).items():
        found[name] = found.get(name, {}) | entry
    wrong = [n for n, entry in found.items() if n not in PII or not isinstance(entry.get("days"), int)]
    if wrong:
        raise CdpkitError("a retention must be a class of data with whole `days`", got=", ".join(wrong))
    return found


def catalogue(
    engine: Any,
    lineage: Lineage,
    language: str = "fr",
    limits: Mapping[str, Mapping[str, Any]] | None = None,
    features: FeatureSet | None = None,
) -> pd.DataFrame:
    """Describe every column of every table held.

    Parameters
    ----------
    engine : Engine
        On the lake.
    lineage : Lineage
        Of the same snapshot.
    language : {"fr", "en"}
    limits : mapping, optional
        As `retention` returns.
    features : FeatureSet, optional
        Whose table is described too; the standard set by default.

    Returns
    -------
    DataFrame
        ``table, column, meaning, type, pii, retention_days, sources, version``. A column of a stored
        table nobody described has an empty meaning.
    """
    import pandas as pd

    check_language(language)
    kept = retention() if limits is None else limits
    own = features or standard_features.standard()
    held = sorted(engine.tables() - {"interactions"})
    rows = []
    for name in held:
        table = TABLES.get(name)
        if table is not None:
            described = [(c.name, getattr(c, language), c.type, c.pii) for c in table.columns]
        else:
            described = _other(engine, name, language, own)
        for column, meaning, kind, pii in described:
            thing = f"feature:{column}" if name == f"features_{own.name}" else f"column:{name}.{column}"
            if thing not in lineage.things():
                thing = f"table:{name}"
            sources = lineage.upstream(thing, "source") if thing in lineage.things() else []
            listed = ", ".join(one.partition(":")[2] for one in sources)
            days = kept[pii]["days"]
            rows.append((name, column, meaning, kind, pii, days, listed, lineage.versions.get(name)))
    names = ["table", "column", "meaning", "type", "pii", "retention_days", "sources", "version"]
    return pd.DataFrame(rows, columns=names).astype({"version": "Int64"})


def _other(engine: Any, name: str, language: str, own: FeatureSet) -> list[tuple[str, str, str, str]]:
    """Describe the columns of a table outside the vocabulary: features, or promoted traits."""
    frame = engine.query(f"FROM {name} LIMIT 0").to_arrow()
    known = {o.name: getattr(o, language) for o in own.outputs}
    for column in ("node_id", "person_id", "as_of", "source", "known_at"):
        shared = next((t[column] for t in TABLES.values() if column in t), None)
        known[column] = getattr(shared, language)
    keys = ("node_id", "person_id")
    return [
        (
            f.name,
            known.get(f.name, f.name.replace("_", " ")),
            str(f.type),
            "pseudonym" if f.name in keys else "none",
        )
        for f in frame.schema
    ]


def page(
    engine: Any,
    language: str = "fr",
    form: str = "markdown",
    *,
    lineage: Lineage | None = None,
    limits: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Write the catalogue as a page: tables, features and dashboard tiles, each with its sources.

    Parameters
    ----------
    engine : Engine
        On the lake.
    language : {"fr", "en"}
    form : {"markdown", "html"}
    lineage : Lineage, optional
        Traced now by default, without contracts.
    limits : mapping, optional
        As `retention` returns.
    """
    if form not in ("markdown", "html"):
        raise CdpkitError("`form` must be markdown or html", got=form)
    words, traced = _WORDS[check_language(language)], lineage or Lineage.read(engine)
    columns = catalogue(engine, traced, language, limits)
    out = _Markdown() if form == "markdown" else _Html(words["title"], language)
    out.title(f"{words['title']} — {words['snapshot']} {traced.snapshot or '—'}")
    for name, rows in columns.groupby("table", sort=True):
        n = engine.query(f"SELECT count(*) AS n FROM {name}").to_arrow()["n"][0].as_py()
        version = traced.versions.get(str(name))
        out.section(f"{name} ({n} {words['rows']}, {words['version']} {'—' if version is None else version})")
        if name in TABLES:
            out.text(getattr(TABLES[str(name)], language))
        shown = ["column", "meaning", "type", "pii", "retention_days", "sources"]
        cells = rows[shown].assign(pii=rows["pii"].map(_PII[language]))
        out.table([words[c] for c in shown], cells.astype("str").to_numpy().tolist())
    out.section(words["features"])
    lines = []
    for output in standard_features.standard().outputs:
        sources = traced.upstream(f"feature:{output.name}", "source")
        read = ", ".join(one.partition(":")[2] for one in reads(output))
        listed = ", ".join(one.partition(":")[2] for one in sources) or words["none"]
        lines.append([output.name, getattr(output, language), read, listed])
    out.table([words["column"], words["meaning"], words["reads"], words["sources"]], lines)
    out.section(words["tiles"])
    tiles = []
    for tile in traced.things("tile"):
        up = traced.upstream(tile, "source", "file")
        sources = [one.partition(":")[2] for one in up if one.startswith("source:")]
        tiles.append(
            [tile.partition(":")[2], ", ".join(sources) or words["none"], str(len(up) - len(sources))]
        )
    out.table([words["tiles"], words["sources"], words["files"]], tiles)
    return out.end()


class _Markdown:
    """A page as Markdown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def title(self, text: str) -> None:
        self.lines += [f"# {text}", ""]

    def section(self, text: str) -> None:
        self.lines += [f"## {text}", ""]

    def text(self, text: str) -> None:
        self.lines += [text, ""]

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        cells = [[str(cell).replace("|", "\\|") for cell in row] for row in [head, *rows]]
        lines = ["| " + " | ".join(row) + " |" for row in cells]
        self.lines += [lines[0], "|" + " --- |" * len(head), *lines[1:], ""]

    def end(self) -> str:
        return "\n".join(self.lines)


class _Html(_Markdown):
    """The same page as HTML, every value escaped."""

    def __init__(self, title: str, language: str) -> None:
        super().__init__()
        style = "body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}"
        style += (
            "table{border-collapse:collapse}td,th{border:1px solid #ccd;padding:.2rem .5rem;text-align:left}"
        )
        self.lines = [f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">',
                      f"<title>{html.escape(title)}</title><style>{style}</style></head><body>"]  # fmt: skip

    def title(self, text: str) -> None:
        self.lines.append(f"<h1>{html.escape(text)}</h1>")

    def section(self, text: str) -> None:
        self.lines.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        self.lines.append(f"<p>{html.escape(text)}</p>")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.lines.append("<table><thead><tr>")
        self.lines += [f'<th scope="col">{html.escape(str(cell))}</th>' for cell in head]
        self.lines.append("</tr></thead><tbody>")
        for row in rows:
            self.lines.append("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>")
        self.lines.append("</tbody></table>")

    def end(self) -> str:
        return "\n".join([*self.lines, "</body></html>"])
