"""Shared fixtures: a node with its directories, the transport, a moved clock."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from django.utils import timezone, translation
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

CORPUS = Path(os.environ.get("FCWEB_CORPUS") or Path(__file__).resolve().parents[2] / "shared" / "corpus")

# The same examples in every run, and no clock: a loaded machine is no fault. `make fuzz` looks for new ones.
ALLOWED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=ALLOWED)
hypothesis_settings.register_profile("fuzz", deadline=None, suppress_health_check=ALLOWED, max_examples=10_000)
hypothesis_settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def own_language():
    """A request leaves its language to the thread: the next test must not find it."""
    yield
    translation.deactivate()


@pytest.fixture
def data_dir(tmp_path, settings):
    """A data directory of this test alone."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    return settings.DATA_DIR


@pytest.fixture
def site(data_dir, db):
    """A set-up node: Pickup, Replay, connector Fax with FAX:*, mailbox alice@fcweb.test."""
    from connectors import first_start, routing_table
    from connectors.models import Node

    routing_table.forget()
    result = first_start.prepare(domain="fcweb.test")
    Node.objects.update(settle_seconds=0)
    result.node.refresh_from_db()
    yield result
    routing_table.forget()


@pytest.fixture
def transport(site):
    """Run all stages until nothing is left, `at` an instant (default: now)."""
    from connectors.conf import transport_config
    from connectors.owner import Owner
    from connectors.transport.service import Service

    def run(at=None):
        now = at or timezone.now()
        config = transport_config()
        with Owner(config.run_dir) as owner:
            stages = Service(config=config, token=owner.token).stages()
            for _round in range(1000):
                if not sum(stage.run(now) for stage in stages):
                    return
        raise AssertionError("the transport does not come to rest")

    return run


@pytest.fixture
def desk(client):
    """Sign in with these permissions; return the client."""
    from django.contrib.auth.models import Permission, User

    def sign_in(*names, name="ann"):
        user = User.objects.create_user(name, password="x")
        user.user_permissions.set(Permission.objects.filter(codename__in=names))
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def pickup(site):
    """Write a file into Pickup, dated back so that it is settled."""
    return lambda name, content: _drop(Path(site.node.pickup_directory_path), name, content)


@pytest.fixture
def replay(site):
    """Write a file into Replay."""
    return lambda name, content: _drop(Path(site.node.replay_directory_path), name, content)


_seconds = itertools.count()


def _drop(directory, name, content):
    path = directory / name
    path.write_bytes(content)
    moment = 1_700_000_000 + next(_seconds)  # long settled, whatever clock a test moves; no two files alike
    os.utime(path, (moment, moment))
    return path


@pytest.fixture
def corpus():
    """The public corpus beside the checkout."""
    if not CORPUS.is_dir():
        pytest.skip(f"no corpus at {CORPUS.name}: set FCWEB_CORPUS to run this test")
    return CORPUS
