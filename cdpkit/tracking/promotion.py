"""Which version is champion: decided on paired results, moved by one alias, undone in one call."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdpkit.errors import CdpkitError
from cdpkit.evaluate import challenge, log_losses, paired
from cdpkit.tracking.registry import ModelVersion, check, fetch, find, keep_champion
from cdpkit.tracking.store import HasStore, Store, open_store

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import ArrayLike

_COMPARISON_TAG = "cdpkit.comparison"
_PENDING_TAG = "cdpkit.pending_alias"
_BEFORE_TAG = "cdpkit.champion_before"


@dataclass(frozen=True)
class Comparison:
    """Paired results of a challenger against the champion, on the same frozen later period.

    Parameters
    ----------
    metric : str
        What was compared, for instance ``"log_loss"``.
    gain, lower, upper : float
        Mean paired gain of the challenger (positive is better) and its interval.
    champion : str
        The version it was compared with.
    margin : float
        The gain that makes a change worth its while: the lower bound must be above it.
    checks : mapping, optional
        Further conditions by name (calibration, each declared segment, drift); all must hold.
    new_question : bool
        The champion answers another definition: there is nothing to compare, the new version takes over.
    """

    metric: str
    gain: float
    lower: float
    upper: float
    champion: str
    margin: float = 0.0
    checks: Mapping[str, bool] = field(default_factory=dict)
    new_question: bool = False

    def faults(self, champion: str) -> list[str]:
        """Return what speaks against promotion, in words; nothing when the challenger may replace it."""
        faults = []
        if self.champion != champion:
            faults.append(f"compared with version {self.champion}, the champion is {champion}")
        if not math.isfinite(self.lower) or not self.lower > self.margin:
            faults.append(f"lower bound of the gain {self.lower:.6g} is not above {self.margin:.6g}")
        faults += [f"{name} does not hold" for name, holds in sorted(self.checks.items()) if not holds]
        return faults


@dataclass(frozen=True)
class Promotion:
    """What was decided for a version: its alias, why, and whether the alias has moved yet."""

    topic: str
    version: str
    alias: str
    reason: str
    applied: bool


def promote(
    topic: str, version: str, comparison: Comparison | None = None, *, workspace: HasStore | str | Path
) -> Promotion:
    """Make a version champion if it may be, challenger otherwise.

    A version becomes champion when there is none, or when the lower bound of its paired gain over
    the present champion is above ``margin`` and every check holds. The alias moves last, and only
    once the version's run is FINISHED and its files are verified: while the run still runs, the
    decision is recorded and applied when the run is finished or, under the runner, published.

    Parameters
    ----------
    topic, version : str
        The version to judge.
    comparison : Comparison, optional
        Paired results against the present champion; needed when there is one.
    workspace : Workspace or path
        Whose registry. Versions of different workspaces are never compared.

    Raises
    ------
    CdpkitError
        When there is no such version, or its run failed.
    IntegrityError
        When its files are not those recorded.
    """
    store = open_store(workspace)
    entry = _entry(store, topic, version)
    champion = find(store, topic, "champion")
    alias, reason = _judge(entry, champion, comparison)
    client = store.client()
    if comparison is not None:
        client.set_model_version_tag(topic, entry.version, _COMPARISON_TAG, json.dumps(asdict(comparison)))
    client.set_model_version_tag(topic, entry.version, _PENDING_TAG, alias)
    if client.get_run(entry.mlflow_run).info.status == "RUNNING":
        return Promotion(topic, entry.version, alias, reason, applied=False)
    apply(store, entry, workspace)
    return Promotion(topic, entry.version, alias, reason, applied=True)


def _judge(
    entry: ModelVersion, champion: ModelVersion | None, comparison: Comparison | None
) -> tuple[str, str]:
    """Return the alias a version deserves, and why."""
    if champion is None:
        return "champion", "there was no champion"
    if champion.version == entry.version:
        return "champion", "it already is"
    if comparison is None:
        return "challenger", f"not compared with the champion, version {champion.version}"
    if comparison.new_question and comparison.champion == champion.version:
        return "champion", f"the definition changed: version {champion.version} answers another question"
    faults = comparison.faults(champion.version)
    if faults:
        return "challenger", "; ".join(faults)
    return (
        "champion",
        f"gain {comparison.gain:.6g} in {comparison.metric}, lower bound {comparison.lower:.6g}",
    )


def _entry(store: Store, topic: str, version: str) -> ModelVersion:
    """Return a version that exists."""
    entry = find(store, topic, str(version))
    if entry is None:
        raise CdpkitError(f"`{topic}` must have the version asked for", got=f"no version {version}")
    return entry


def compare(
    topic: str,
    X: pd.DataFrame,
    y: ArrayLike,
    p: ArrayLike,
    *,
    workspace: HasStore | str | Path,
    definition: Mapping[str, Any],
    since: pd.Timestamp,
    groups: ArrayLike | None = None,
    segments: pd.DataFrame | None = None,
    drift: pd.DataFrame | None = None,
    margin: float = 0.0,
    losses: Callable[[ArrayLike, ArrayLike], ArrayLike] = log_losses,
) -> Comparison | None:
    """Compare a challenger with the present champion, by a loss on the same later rows.

    Beside the gain, its calibration and each declared segment must be proven not worse, by the margins
    of `cdpkit.evaluate.challenge`, and what it watches must not have drifted.

    A champion of another definition is not comparable. One that learned from dates after `since` has
    seen the rows it would be judged on, and stays.

    Parameters
    ----------
    topic : str
        Registered model; its champion must answer ``probability(X)``.
    X : DataFrame
        Features of the later rows; a column the champion knows and `X` lacks is missing throughout.
    y : array-like of 0 and 1
        What happened.
    p : array-like
        The challenger's probabilities.
    workspace : Workspace or path
        Whose registry.
    definition : mapping
        What the challenger predicts, as its ``to_dict`` gives it.
    since : timestamp
        Date of the later rows.
    groups : array-like, optional
        The unit of each row.
    segments : DataFrame, optional
        One column a declared segment, on the same rows.
    drift : DataFrame, optional
        As `Scorer.watch` gives it for the challenger on the people to score: it must hold no alarm.
    margin : float
        As in `Comparison`, in the unit of the loss a person.
    losses : callable
        From what happened and the scores to a loss a row; the log-loss by default.

    Returns
    -------
    Comparison or None
        None when there is no champion to compare with.
    """
    from cdpkit.tracking.registry import load

    store, metric = open_store(workspace), getattr(losses, "__name__", "loss").removesuffix("es")
    champion = find(store, topic, "champion") if store.exists() else None
    if champion is None:
        return None
    scorer = load(topic, champion.version, workspace=workspace).model
    if dict(scorer.definition) != json.loads(json.dumps(dict(definition))):
        return Comparison(metric, math.nan, math.nan, math.nan, champion.version, new_question=True)
    fresh = _had_not_seen(scorer, since)
    reference = scorer.probability(X.reindex(columns=scorer.columns()))
    checks = {"that the champion had not seen these rows": fresh}
    if losses is log_losses:
        told = challenge(y, p, reference, groups=groups, segments=segments, margin=margin)
        gain, checks = (told.gain, told.lower, told.upper), {**checks, **told.checks}
    else:
        gap = paired(losses(y, p), losses(y, reference), groups=groups)
        gain = (-gap.mean, -gap.high, -gap.low)
    if drift is not None:
        checks["drift within bounds"] = not bool(drift["alarm"].any())
    return Comparison(metric, *gain, champion.version, margin, checks)


def _had_not_seen(scorer: Any, since: Any) -> bool:
    """Tell whether a version was judged no later than a date: what it learned from lies before that."""
    import pandas as pd

    judged = scorer.card.get("windows", {}).get("test")
    return judged is None or pd.Timestamp(judged) <= pd.Timestamp(since)


def pending(store: Store, mlflow_run: str) -> list[ModelVersion]:
    """Return the versions of a run whose alias has been decided and not moved."""
    found = store.client().search_model_versions(f"run_id = '{mlflow_run}'")
    waiting = [v for v in found if v.tags.get(_PENDING_TAG)]
    return [_entry(store, v.name, str(v.version)) for v in waiting]


def apply(store: Store, entry: ModelVersion, workspace: HasStore | str | Path) -> None:
    """Move the alias decided for a version: verify, note the champion before, then one last write."""
    client = store.client()
    status = client.get_run(entry.mlflow_run).info.status
    if status != "FINISHED":
        raise CdpkitError(f"the run of {entry.decided_by} must be FINISHED", got=status)
    tags = client.get_model_version(entry.topic, entry.version).tags
    alias = tags.get(_PENDING_TAG)
    if not alias:
        return
    with tempfile.TemporaryDirectory() as scratch:
        check(store, entry, fetch(store, entry, Path(scratch)))
    if alias == "champion":
        champion = find(store, entry.topic, "champion")
        if champion is not None and champion.version != entry.version:
            # Somebody may have moved the alias since the decision: it was about another champion.
            if json.loads(tags.get(_COMPARISON_TAG, "{}")).get("champion") != champion.version:
                alias = "challenger"
            client.set_model_version_tag(entry.topic, entry.version, _BEFORE_TAG, champion.version)
    client.set_registered_model_alias(entry.topic, alias, entry.version)
    client.delete_model_version_tag(entry.topic, entry.version, _PENDING_TAG)
    if alias == "champion":
        keep_champion(workspace, entry)


def rollback(topic: str, *, workspace: HasStore | str | Path) -> Promotion:
    """Give the alias back to the champion before this one, once its files are verified.

    Raises
    ------
    CdpkitError
        When there is no champion, or none before it.
    IntegrityError
        When the files of the champion before are not those recorded.
    """
    store = open_store(workspace)
    client = store.client()
    champion = find(store, topic, "champion")
    tags = {} if champion is None else client.get_model_version(topic, champion.version).tags
    if champion is None or _BEFORE_TAG not in tags:
        raise CdpkitError(f"`{topic}` must have had a champion before this one", got="none")
    before = _entry(store, topic, tags[_BEFORE_TAG])
    with tempfile.TemporaryDirectory() as scratch:
        check(store, before, fetch(store, before, Path(scratch)))
    client.set_registered_model_alias(topic, "champion", before.version)
    keep_champion(workspace, before)
    return Promotion(
        topic, before.version, "champion", f"rolled back from version {champion.version}", applied=True
    )


def protect(
    topic: str,
    X: pd.DataFrame,
    y: ArrayLike,
    *,
    workspace: HasStore | str | Path,
    since: pd.Timestamp,
    groups: ArrayLike | None = None,
) -> Promotion | None:
    """Roll back by itself where the champion before this one is proven better on later rows.

    Called at each retraining, once outcomes are known. Nothing happens without a champion before this
    one, where the two answer different questions, where one has learned from such dates, or where the rows
    do not prove anything.

    Parameters
    ----------
    topic : str
        Registered model; its versions must answer ``probability(X)``.
    X : DataFrame
        Features of rows later than what either version learned from or was judged on.
    y : array-like of 0 and 1
        What happened.
    workspace : Workspace or path
        Whose registry.
    since : timestamp
        Date of the rows.
    groups : array-like, optional
        The unit of each row.

    Returns
    -------
    Promotion or None
        The rollback, when there was one.
    """
    from cdpkit.tracking.registry import load

    store = open_store(workspace)
    champion = find(store, topic, "champion") if store.exists() else None
    tags = {} if champion is None else store.client().get_model_version(topic, champion.version).tags
    if champion is None or _BEFORE_TAG not in tags:
        return None
    one, two = (load(topic, v, workspace=workspace).model for v in (champion.version, tags[_BEFORE_TAG]))
    if dict(one.definition) != dict(two.definition) or not all(_had_not_seen(s, since) for s in (one, two)):
        return None
    now, before = (scorer.probability(X.reindex(columns=scorer.columns())) for scorer in (one, two))
    if challenge(y, before, now, groups=groups).lower <= 0:
        return None
    return rollback(topic, workspace=workspace)
