"""Folders and files that are whole or not there, whoever is killed meanwhile."""

import os
import subprocess
import sys

import pytest

from instructsearch import durable
from instructsearch.durable import new_file, new_folder

OLD = 1_600_000_000

KILLED = """
import os, signal, sys
from pathlib import Path
from instructsearch.durable import new_folder
with new_folder(Path(sys.argv[1])) as making:
    (making / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_appears_whole(tmp_path):
    with new_folder(tmp_path / "made") as making:
        (making / "part").write_text("all")
        assert not (tmp_path / "made").exists()
    assert (tmp_path / "made" / "part").read_text() == "all"
    assert os.listdir(tmp_path) == ["made"]


def test_a_folder_that_cannot_be_finished_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_folder(tmp_path / "made") as making:
        (making / "part").write_text("half")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_what_a_killed_maker_left_is_removed_by_the_next_and_by_no_other(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "made")], check=False)
    (left,) = os.listdir(tmp_path)
    os.utime(tmp_path / left, (OLD, OLD))
    with new_folder(tmp_path / "another"):
        pass
    assert set(os.listdir(tmp_path)) == {left, "another"}
    with new_folder(tmp_path / "made"):
        pass
    assert set(os.listdir(tmp_path)) == {"made", "another"}


def test_a_folder_that_is_being_made_is_left_to_its_maker(tmp_path):
    with new_folder(tmp_path / "made") as making:
        os.utime(making, (OLD, OLD))
        with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "made") as second:
            (second / "part").touch()
            (tmp_path / "made").mkdir()
            (tmp_path / "made" / "whose").touch()
        assert making.exists()
        (tmp_path / "made" / "whose").unlink()


def test_a_folder_so_new_that_it_may_not_be_held_yet_is_left(tmp_path, monkeypatch):
    (tmp_path / ".made.abc.making").mkdir()
    with new_folder(tmp_path / "made"):
        pass
    assert (tmp_path / ".made.abc.making").exists()
    monkeypatch.setattr(durable, "_JUST_MADE", -1.0)
    (tmp_path / "made").rmdir()
    with new_folder(tmp_path / "made"):
        pass
    assert os.listdir(tmp_path) == ["made"]


def test_a_file_that_cannot_be_finished_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "made") as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []
