"""docs/compatibility.md shows the tables that the tests hold, and the methods that are served."""

from __future__ import annotations

import re
from pathlib import Path

from tests.differential.divergences import DIVERGENCES
from tests.member.plain import PlainMember
from trimaran.api.services import RPCS
from trimaran.member.services import served_paths

PAGE = (Path(__file__).parent.parent.parent / "docs" / "compatibility.md").read_text()


def test_the_page_shows_every_divergence_and_no_other() -> None:
    table = PAGE.split("## Where etcd 3.4 and 3.7 differ")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(.*)` \| (.*) \|$", table, re.MULTILINE) == [
        (row.prefix, row.reason) for row in DIVERGENCES
    ]


def test_the_page_names_what_is_served_and_what_is_not() -> None:
    served = served_paths(PlainMember().methods)
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (\w+)", PAGE, re.MULTILINE)
    for service, names, state in rows:
        for name in names.split(", "):
            path = f"/{service}/{name}"
            if path in RPCS:
                assert (path in served) == (state == "served"), path
    named = {f"/{service}/{name}" for service, names, state in rows for name in names.split(", ") if state == "served"}
    assert named == served
