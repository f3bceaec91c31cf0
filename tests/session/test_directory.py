"""The runtime directory: who may use which, and what is said of one that will not do."""

import os
from pathlib import Path

import pytest

from userevents.errors import Unusable
from userevents.session import directory


def test_the_chosen_directory_is_the_only_candidate(runtime_dir: Path) -> None:
    """$USEREVENTS_DIR names the one directory that program and tracer look at."""
    assert directory.candidates() == [str(runtime_dir)]
    assert directory.tracer_candidates() == [str(runtime_dir)]


def test_without_a_choice_the_shared_memory_directory_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """System, session, then /dev/shm: the order in which a program tries."""
    monkeypatch.delenv("USEREVENTS_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/77")
    uid = os.geteuid()
    assert directory.candidates() == [
        f"/run/userevents/{uid}",
        "/run/user/77/userevents",
        f"/dev/shm/userevents-{uid}",
    ]


def test_a_directory_is_made_closed_to_others(runtime_dir: Path) -> None:
    """A runtime directory that is missing is made 0700, with a place for rings."""
    made = directory.prepare(str(runtime_dir / "fresh"))
    assert os.stat(made).st_mode & 0o777 == 0o700
    assert os.path.isdir(f"{made}/rings")
    os.rmdir(f"{made}/rings")
    os.rmdir(made)


def test_a_directory_open_to_others_is_refused_with_its_mode(runtime_dir: Path) -> None:
    """Anybody who may write there could plant files; the message shows the mode found."""
    runtime_dir.chmod(0o755)
    with pytest.raises(Unusable, match="0755"):
        directory.check(str(runtime_dir))


def test_a_link_is_refused(runtime_dir: Path) -> None:
    """A symbolic link could point anywhere by the time it is used."""
    link = runtime_dir / "link"
    link.symlink_to(runtime_dir)
    with pytest.raises(Unusable, match="not a directory"):
        directory.check(str(link))
    link.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_somebody_else_is_refused_with_its_owner(runtime_dir: Path) -> None:
    """Another user's directory is never used; the message shows whose it is."""
    os.chown(runtime_dir, 12345, 12345)
    with pytest.raises(Unusable, match="12345"):
        directory.check(str(runtime_dir))


def test_a_directory_on_a_disk_is_refused(tmp_path: Path) -> None:
    """A trace must never wait for a disk."""
    tmp_path.chmod(0o700)
    kind = directory.filesystem(os.lstat(tmp_path).st_dev)
    if kind in ("tmpfs", "ramfs", None):
        pytest.skip(f"the temporary directory is on {kind}")
    with pytest.raises(Unusable, match=f"on {kind}"):
        directory.check(str(tmp_path))


def test_when_no_directory_serves_each_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reasons of all candidates are told, not only the last."""
    monkeypatch.setenv("USEREVENTS_DIR", "/proc/nothing/here")
    with pytest.raises(Unusable, match="/proc/nothing/here"):
        directory.program_directory()
