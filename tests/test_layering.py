"""The arrows of the kernel: who may import whom. docs/design.md has the picture."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KERNEL = ROOT / "kernel" / "trimaran"
PLUGINS = sorted(path for path in (ROOT / "plugins").glob("*/trimaran_*") if path.is_dir())

#: Lowest first: a layer may import those before it, and itself.
LAYERS = ("api", "raft", "mvcc", "state", "member", "hooks", "runtime", "client", "testing", "cli")
#: The kernel's layers without I/O, and what of the world they must not see.
PURE = ("api", "raft", "mvcc", "state", "member")
WORLD = {
    "asyncio", "logging", "os", "pluggy", "random", "select", "signal", "socket", "sqlite3",
    "ssl", "structlog", "subprocess", "threading", "time", "trio",
}  # fmt: skip
#: Entry points of a package and tools that are run by hand, not imported.
OUTSIDE = {KERNEL / "__init__.py", KERNEL / "__main__.py", KERNEL / "api" / "build.py"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules(layer: str) -> list[Path]:
    return [path for path in sorted((KERNEL / layer).rglob("*.py")) if path not in OUTSIDE]


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_layers_before_it(layer: str) -> None:
    # Raft is kept free even of the API: it could stand alone.
    allowed = set() if layer == "raft" else set(LAYERS[: LAYERS.index(layer)])
    for path in modules(layer):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "trimaran" and len(parts) > 1 and parts[1] in LAYERS:
                assert parts[1] in allowed | {layer}, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("layer", PURE)
def test_a_pure_layer_sees_nothing_of_the_world(layer: str) -> None:
    for path in modules(layer):
        for name in imports(path):
            assert name.split(".")[0] not in WORLD, f"{path.relative_to(ROOT)} imports {name}"


def test_the_frame_layer_sees_nothing_of_the_world() -> None:
    for path in sorted((ROOT / "plugins" / "transport" / "trimaran_etcd" / "h2").rglob("*.py")):
        for name in imports(path):
            assert name.split(".")[0] not in WORLD, f"{path.relative_to(ROOT)} imports {name}"


def test_the_kernel_imports_no_plugin() -> None:
    names = {path.name for path in PLUGINS}
    for path in sorted(KERNEL.rglob("*.py")):
        for name in imports(path):
            assert name.split(".")[0] not in names, f"{path.relative_to(ROOT)} imports {name}"


def test_a_plugin_imports_no_other_plugin() -> None:
    names = {path.name for path in PLUGINS}
    for plugin in PLUGINS:
        for path in sorted(plugin.rglob("*.py")):
            for name in imports(path):
                assert name.split(".")[0] not in names - {plugin.name}, f"{path.relative_to(ROOT)} imports {name}"


def test_every_directory_of_the_kernel_is_a_layer() -> None:
    found = {path.name for path in KERNEL.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found <= set(LAYERS), f"not in LAYERS: {sorted(found - set(LAYERS))}"
