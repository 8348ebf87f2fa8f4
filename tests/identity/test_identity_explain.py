"""Why two records are one person, and how a person says they are not."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest

from cdpkit import decisions, identity
from cdpkit.engine import DuckDBEngine
from cdpkit.errors import CdpkitError, FaultsError
from cdpkit.run import Run
from cdpkit.workspace import Workspace

RECORDS = pd.DataFrame(
    {
        "source": ["crm", "shop", "store", "call", "crm"],
        "record_id": ["c1", "s1", "t1", "a1", "c2"],
        "email": ["e@x.fr", "e@x.fr", None, None, "e@x.fr"],
        "phone": [None, "0612345678", "0612345678", None, None],
        "loyalty_id": [None, None, "l4821", "l4821", None],
        "first_name": ["Marie", None, None, None, "Paul"],
    }
)


def test_every_pair_of_one_person_has_a_path_of_evidence() -> None:
    """The steps join, start and end at the two records, and each says its rule."""
    out = identity.resolve(RECORDS, run_id="r1")
    persons = out.as_of().groupby("person_id")
    assert persons.size().max() == 4
    for _, rows in persons:
        keys = list(rows[["source", "record_id"]].itertuples(index=False, name=None))
        for a, b in itertools.permutations(keys, 2):
            said = out.explain(*a, *b)
            path = said.path
            assert said.one_person and len(path)
            starts = list(path[["from_source", "from_record_id"]].itertuples(index=False, name=None))
            ends = list(path[["to_source", "to_record_id"]].itertuples(index=False, name=None))
            assert [*starts, b] == [a, *ends]
            assert path["rule"].notna().all() and (path["state"] != "refused").all()


def test_the_path_is_the_one_whose_weakest_step_is_strongest() -> None:
    """Two strong steps are shown rather than one weak one."""
    records = pd.DataFrame(
        {"source": "s", "record_id": list("abc"), "device_id": ["d1948", None, "d1948"],
         "email": ["e@x.fr", "e@x.fr", None], "phone": [None, "0612345678", "0612345678"]}
    )  # fmt: skip
    path = identity.resolve(records, run_id="r1").explain("s", "a", "s", "c").path
    assert path["rule"].tolist() == ["email", "phone"]


def test_between_two_persons_the_refused_links_are_shown() -> None:
    """No path, and the reason why the e-mail did not join them."""
    said = identity.resolve(RECORDS, run_id="r1").explain("crm", "c2", "crm", "c1")
    assert not said.one_person and said.path.empty
    assert said.refused["refused_by"].tolist() == ["first names disagree"]
    with pytest.raises(CdpkitError, match="resolved"):
        identity.resolve(RECORDS, run_id="r1").explain("crm", "c9", "crm", "c1")


def test_an_unmerge_goes_through_the_inbox_and_survives_later_runs(tmp_path: Path) -> None:
    """Dropped, absorbed, followed by this run and the next."""
    workspace = Workspace.open(tmp_path)
    identity.unmerge(
        workspace, ("shop", "s1"), ("store", "t1"), author="ines", decided_at=datetime(2026, 1, 2)
    )
    previous = identity.resolve(RECORDS, run_id="r0")
    assert previous.explain("shop", "s1", "store", "t1").one_person
    for _ in range(2):
        with Run.begin(workspace, "nightly") as run:
            decisions.absorb(run)
            asked = identity.link_decisions(run.engine())
            assert asked["kind"].tolist() == ["cannot_link"]
            previous = identity.resolve(RECORDS, previous, asked, run_id=run.run_id)
            run.finish()
        said = previous.explain("shop", "s1", "store", "t1")
        assert not said.one_person and "decision" in set(said.refused["refused_by"])


def test_a_decision_of_another_form_is_refused_or_passed_over() -> None:
    """A wrong kind is refused when it is made; what others wrote is left alone."""
    with pytest.raises(FaultsError, match="cannot_link"):
        identity.decide(
            Workspace.open("."), "merge", ("a", "b"), ("c", "d"), author="x", decided_at=datetime(2026, 1, 2)
        )
    frame = pd.DataFrame(
        {"decision_id": ["d1"], "kind": "link", "subject": "other", "content": '{"kind": "odd"}', "author": "x",
         "reason": "", "event_time": pd.Timestamp("2026-01-02"), "run_id": "r1"}
    )  # fmt: skip
    assert identity.link_decisions(DuckDBEngine(frames={"decisions": frame})).empty
