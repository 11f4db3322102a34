"""What is on disk, what the wheel ships, and what the entry points name agree."""

from __future__ import annotations

import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from trimaran.hooks.loader import FRONTEND, KINDS, Plugins

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = sorted(path for path in (ROOT / "plugins").glob("*/trimaran_*") if path.is_dir())


def test_every_plugin_directory_is_packaged() -> None:
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    on_disk = {str(path.relative_to(ROOT)) for path in PACKAGES}
    assert set(packages) == on_disk | {"kernel/trimaran"}


def test_every_plugin_package_is_an_entry_point() -> None:
    named = {target for group in PROJECT["project"]["entry-points"].values() for target in group.values()}
    assert named == {path.name for path in PACKAGES}


def test_entry_point_groups_are_the_kinds_of_the_loader() -> None:
    assert set(PROJECT["project"]["entry-points"]) == {kind.group for kind in KINDS}


@pytest.mark.parametrize("package", [ROOT / "kernel" / "trimaran", *PACKAGES], ids=lambda path: path.name)
def test_every_package_is_typed(package: Path) -> None:
    assert (package / "py.typed").is_file()


@pytest.mark.parametrize("folder", ["kernel", "plugins", "plugins/storage", "plugins/transport"])
def test_folders_of_packages_are_no_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_installed_plugin_loads_under_its_own_name(kind: object) -> None:
    points = entry_points(group=kind.group)  # type: ignore[attr-defined]
    assert points
    for point in points:
        if point.dist is not None and point.dist.name == "trimaran":
            loader = Plugins()
            plugin = loader.frontend(point.name) if kind is FRONTEND else loader.storage(point.name)
            assert plugin.name == point.name
            assert plugin.summary
