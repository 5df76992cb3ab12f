"""The transport as two processes, as `serve` starts it: one takes files, the other delivers."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def halves(tmp_path):
    """Both halves running on a data directory of their own; yields the directory."""
    data = tmp_path / "data"
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_SETTINGS", "FCWEB_"))}
    env |= {"FCWEB_DATA_DIR": str(data), "FCWEB_NODE": "halves.test"}
    subprocess.run([sys.executable, "manage.py", "setup"], cwd=ROOT, env=env, check=True, capture_output=True)
    running = [
        subprocess.Popen([sys.executable, "manage.py", "transport", "--only", half], cwd=ROOT, env=env)
        for half in ("intake", "delivery")
    ]
    deadline = time.monotonic() + 30
    while len(list((data / "run").glob("*.heartbeat"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    yield data
    for process in running:
        process.terminate()
    assert [process.wait(20) for process in running] == [0, 0]


@pytest.mark.rule("PU-1")
def test_the_taking_process_wakes_the_delivering_one(halves):
    time.sleep(1.5)  # both are idle and wait
    (halves / "pickup" / "hello.eml").write_bytes(b"From: alice@fcweb.test\nTo: IMCEAFAX-1@fcweb.test\n\nBody\n")
    written = time.monotonic()

    while not list((halves / "drop" / "Fax").glob("*.eml")):
        assert time.monotonic() - written < 20
        time.sleep(0.01)

    assert not list((halves / "pickup").glob("*.eml"))


def test_readiness_needs_both_halves_or_the_whole(tmp_path):
    from fcweb.health import _transport_lives

    assert not _transport_lives(tmp_path)
    (tmp_path / "intake.heartbeat").touch()
    assert not _transport_lives(tmp_path)
    (tmp_path / "delivery.heartbeat").touch()
    assert _transport_lives(tmp_path)
    (tmp_path / "delivery.heartbeat").unlink()
    (tmp_path / "transport.heartbeat").touch()
    assert _transport_lives(tmp_path)
