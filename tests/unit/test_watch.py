"""Watch: what wakes the transport early, and what does not."""

import pytest

from connectors.transport.watch import Watcher


@pytest.fixture
def watcher():
    watcher = Watcher()
    yield watcher
    watcher.close()


def test_our_own_publishing_does_not_wake_us_but_a_reader_who_takes_a_file_does(watcher, tmp_path):
    watcher.watch_drops([tmp_path])
    (tmp_path / ".1.tmp").write_bytes(b"x")
    (tmp_path / ".1.tmp").rename(tmp_path / "1.eml")
    assert not watcher.drain()

    (tmp_path / "1.eml").unlink()
    assert watcher.drain()


def test_names_are_kept_once_their_writer_is_done(watcher, tmp_path):
    closed = set()
    watcher.watch_intake(tmp_path, closed)
    with (tmp_path / "a.eml").open("wb") as file:
        file.write(b"half")
        file.flush()
        assert not watcher.drain()
    assert watcher.drain()
    assert closed == {"a.eml"}


def test_only_messages_wake_intake_not_the_names_we_give_them(watcher, tmp_path):
    closed = set()
    watcher.watch_intake(tmp_path, closed)
    (tmp_path / "a.part").write_bytes(b"x")
    (tmp_path / "a.part").rename(tmp_path / "A.EML")
    assert watcher.drain()
    (tmp_path / "A.EML").rename(tmp_path / "A.tmp")
    (tmp_path / "b.bad").write_bytes(b"x")

    assert not watcher.drain()
    assert closed == {"A.EML"}
