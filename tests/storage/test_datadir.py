"""The data directory belongs to one process at a time, and to trimaran."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trimaran.hooks.datadir import open_data_dir
from trimaran.hooks.storage import StorageError, StorageForeignError, StorageLockedError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_directory_and_its_files_are_private(tmp_path: Path) -> None:
    """RELIABILITY 5: data directory 0700, files 0600."""
    path = tmp_path / "a" / "b"
    with open_data_dir(path) as data_dir:
        assert mode(path) == 0o700
        assert not data_dir.open_to_others
        assert {name: mode(path / name) for name in os.listdir(path)} == {"format": 0o600, "lock": 0o600}


def test_an_existing_directory_is_made_private(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with open_data_dir(tmp_path):
        assert mode(tmp_path) == 0o700


def test_a_second_open_is_refused_and_names_the_holder(tmp_path: Path) -> None:
    with open_data_dir(tmp_path), pytest.raises(StorageLockedError, match=f"process {os.getpid()}:"):
        open_data_dir(tmp_path)


def test_another_process_is_refused_until_the_first_one_is_gone(tmp_path: Path) -> None:
    code = """if True:
        import pathlib, sys
        from trimaran.hooks.datadir import open_data_dir
        open_data_dir(pathlib.Path(sys.argv[1]))
        print("held", flush=True)
        sys.stdin.read()
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StorageLockedError, match=f"process {holder.pid}:"):
            open_data_dir(tmp_path)
        # Killed, so nothing is tidied up: the kernel lets go of the lock.
        holder.kill()
    open_data_dir(tmp_path).close()


def test_close_releases_the_directory_and_may_be_repeated(tmp_path: Path) -> None:
    first = open_data_dir(tmp_path)
    first.close()
    second = open_data_dir(tmp_path)
    first.close()
    with pytest.raises(StorageLockedError):
        open_data_dir(tmp_path)
    second.close()


def test_a_foreign_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    tmp_path.chmod(0o755)
    with pytest.raises(StorageForeignError, match="photos"):
        open_data_dir(tmp_path)
    assert os.listdir(tmp_path) == ["photos"]
    assert mode(tmp_path) == 0o755


def test_a_fresh_volume_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    open_data_dir(tmp_path).close()


def test_a_crash_while_the_directory_is_set_up_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock").write_bytes(b"")
    (tmp_path / "format.new").write_bytes(b"trimaran da")
    open_data_dir(tmp_path).close()
    (tmp_path / "state.db").write_bytes(b"")
    open_data_dir(tmp_path).close()


@pytest.mark.parametrize("text", ["", "something else 1\n", "trimaran data directory one\n", "\xff\n"])
def test_a_strange_format_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "format").write_text(text, encoding="latin-1")
    with pytest.raises(StorageForeignError, match="not written by trimaran"):
        open_data_dir(tmp_path)
    assert os.listdir(tmp_path) == ["format"]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format").write_text("trimaran data directory 2\n")
    with pytest.raises(StorageForeignError, match="format 2"):
        open_data_dir(tmp_path)


def test_a_path_that_is_a_file_is_an_error_of_the_seam(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be used"):
        open_data_dir(tmp_path / "file")


def test_a_directory_keeps_to_the_plugins_that_wrote_it(tmp_path: Path) -> None:
    with open_data_dir(tmp_path) as data_dir:
        data_dir.claim(log="segments", state="sqlite")
        data_dir.claim(log="segments", state="sqlite")
    with open_data_dir(tmp_path) as data_dir:
        with pytest.raises(StorageForeignError, match="log written by storage 'segments', not 'sqlite'"):
            data_dir.claim(log="sqlite", state="sqlite")
        data_dir.claim(log="segments", state="sqlite")
