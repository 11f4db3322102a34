"""`TRIMARAN_REFERENCE_ETCD=PATH python -m tests.differential.record`: write down what an etcd of 3.7 or later answers.

In the cases of DIVERGENCES alone, as answers.txt, which is reviewed as a diff.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.differential.catalogue import CASES
from tests.differential.divergences import ANSWERS_PATH, FOLLOWED, divergence_of
from tests.differential.side import running_pair


def main() -> None:
    lines = []
    with tempfile.TemporaryDirectory() as folder, running_pair(Path(folder)) as pair:
        if pair.reference_version < FOLLOWED:
            raise SystemExit(
                f"the reference is etcd {pair.reference_version}; TRIMARAN_REFERENCE_ETCD must name a newer one"
            )
        for case in CASES:
            row = divergence_of(case.name)
            if row is not None and row.recorded:
                reference, _ = pair.run(case)
                lines.append(repr((case.name, {entry.label: entry.value for entry in reference})))
    ANSWERS_PATH.write_text("\n".join(lines) + "\n")
    print(f"{len(lines)} cases recorded in {ANSWERS_PATH}")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
