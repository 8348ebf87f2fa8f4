"""The record of a run: `report.json` for machines and `report.html` for people, no personal data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

# Never colour alone: each state has its word and its sign.
_SIGNS = {"ok": "✓", "skipped": "–", "resumed": "↺", "failed": "✗", "not run": "·", "running": "…"}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .4rem .8rem; vertical-align: top }
th { border-bottom: 2px solid #1b1f24 } td { border-bottom: 1px solid #d0d7de }
.failed { color: #a40e26; font-weight: 600 } .ok { color: #116329 } .number { text-align: right }
"""


def write(folder: Path, content: Mapping[str, Any]) -> Path:
    """Write both reports of a run; return the HTML one.

    Parameters
    ----------
    folder : Path
        The run's folder.
    content : mapping
        ``run_id, status, reason, parameters, snapshot, promoted, steps``; each step as
        `Verdict.to_dict` gives it. Already scrubbed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("report.json", json.dumps(content, indent=1, ensure_ascii=False)),
        ("report.html", html(content)),
    ):
        partial = folder / f".{name}.tmp"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)
    return folder / "report.html"


def read(folder: Path) -> dict[str, Any] | None:
    """Return the machine's report of a run, or None."""
    try:
        return json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def html(content: Mapping[str, Any]) -> str:
    """Return the report as one self-contained page.

    Examples
    --------
    >>> "✓ ok" in html({"run_id": "r000001", "status": "ok", "steps": []})
    True
    """
    rows = "".join(_row(step) for step in content.get("steps", []))
    facts = {
        "Parameters": ", ".join(f"{name}={value}" for name, value in content.get("parameters", {}).items()),
        "Published snapshot": content.get("snapshot") or "nothing was published",
        "Models with a new alias": ", ".join(content.get("promoted", [])),
        "Reason": content.get("reason", ""),
    }
    listed = "".join(f"<dt>{escape(k)}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items() if v)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Run {escape(content["run_id"])}</title>'
        f"<style>{_STYLE}</style><h1>Run {escape(content['run_id'])}: {_state(content['status'])}</h1>"
        f"<dl>{listed}</dl><table><thead><tr><th>Step</th><th>State</th><th>Seconds</th>"
        f"<th>What it says</th></tr></thead><tbody>{rows}</tbody></table></html>"
    )


def _state(status: str) -> str:
    """Return a state as sign and word."""
    return f'<span class="{escape(status)}">{_SIGNS.get(status, "")} {escape(status)}</span>'


def _row(step: Mapping[str, Any]) -> str:
    """Return one step as a table row; executed notebooks lie beside the page."""
    name = escape(step["topic"])
    if step.get("output"):
        name = f'<a href="{escape(step["output"])}">{name}</a>'
    where = f", cell {step['cell']}" if step.get("cell") else ""
    said = f"{step['kind']}{where}: {step['reason']}" if step.get("kind") else step.get("reason", "")
    plain = {name: value for name, value in step.get("result", {}).items() if name != "skipped"}
    known = [f"{name}: {value}" for name, value in plain.items() if isinstance(value, str | int | float)]
    text = escape("; ".join([said, *known] if said else known))
    cells = (f"<td>{name}</td>", f"<td>{_state(step['status'])}</td>")
    return f'<tr>{"".join(cells)}<td class="number">{step["seconds"]:.1f}</td><td>{text}</td></tr>'
