"""Every built-in backend keeps the contracts of the storage seam."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from trimaran.hooks.storage import STORAGE_API_VERSION, LogStore, StateStore, StorageOptions, StoragePlugin
from trimaran.testing.storage import LogStoreContract, StateStoreContract, entry
from trimaran_memory import MemoryDisk, MemoryOptions
from trimaran_segments import SegmentsOptions


def plugin(name: str) -> StoragePlugin:
    declared = importlib.import_module(f"trimaran_{name}").trimaran_storage()
    assert isinstance(declared, StoragePlugin)
    return declared


class _Disks:
    """A memory disk for each path, which is what makes a path mean the same thing twice."""

    def __init__(self) -> None:
        self._disks: dict[Path, MemoryDisk] = {}

    def options(self, path: Path) -> StorageOptions:
        return StorageOptions(path, MemoryOptions(self._disks.setdefault(path, MemoryDisk())))


class TestMemoryLog(LogStoreContract):
    disks = _Disks()

    def open(self, path: Path) -> LogStore:
        opener = plugin("memory").open_log
        assert opener is not None
        return opener(self.disks.options(path))


class TestMemoryState(StateStoreContract):
    disks = _Disks()

    def open(self, path: Path) -> StateStore:
        opener = plugin("memory").open_state
        assert opener is not None
        return opener(self.disks.options(path))


class TestSqliteLog(LogStoreContract):
    def open(self, path: Path) -> LogStore:
        opener = plugin("sqlite").open_log
        assert opener is not None
        return opener(StorageOptions(path))


class TestSqliteState(StateStoreContract):
    def open(self, path: Path) -> StateStore:
        opener = plugin("sqlite").open_state
        assert opener is not None
        return opener(StorageOptions(path))


class TestSegmentLog(LogStoreContract):
    """Small segments, so that a few appends cross from one to the next."""

    def open(self, path: Path) -> LogStore:
        opener = plugin("segments").open_log
        assert opener is not None
        return opener(StorageOptions(path, SegmentsOptions(segment_bytes=32768)))


@pytest.mark.parametrize("name", ["memory", "sqlite", "segments"])
def test_each_package_declares_a_plugin_of_its_own_name(name: str) -> None:
    declared = plugin(name)
    assert declared.name == name
    assert declared.summary
    assert declared.api_version == STORAGE_API_VERSION


def test_memory_never_touches_the_data_directory(tmp_path: Path) -> None:
    declared = plugin("memory")
    assert declared.open_log is not None
    assert declared.open_state is not None
    assert not declared.on_disk
    declared.open_log(StorageOptions(tmp_path / "none")).append([entry(1)], None)
    declared.open_state(StorageOptions(tmp_path / "none")).sync()
    assert list(tmp_path.iterdir()) == []


def test_segments_give_a_log_only() -> None:
    assert plugin("segments").open_state is None


def test_segments_have_16_mib_where_nothing_else_is_chosen(tmp_path: Path) -> None:
    opener = plugin("segments").open_log
    assert opener is not None
    log = opener(StorageOptions(tmp_path))
    log.load()
    log.append([entry(1)], None)
    log.close()
    (segment,) = (tmp_path / "log").iterdir()
    assert segment.stat().st_size == 16 << 20
    again = opener(StorageOptions(tmp_path))
    assert again.load().entries == [entry(1)]
    again.close()
