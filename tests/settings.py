"""Settings of the test suite: the product's own, in a data directory of their own."""

import os
import tempfile

_worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["FCWEB_DATA_DIR"] = tempfile.mkdtemp(prefix=f"fcweb-tests-{_worker}-")
os.environ.setdefault("FCWEB_NODE", "node.test")
os.environ.setdefault("DJANGO_ALLOW_ASYNC_UNSAFE", "true")

from fcweb.settings import *  # noqa: E402, F403

ALLOWED_HOSTS = ["*"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # noqa: F405
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    DATABASES["default"]["TEST"] = {"NAME": DATA_DIR / "test.sqlite3"}  # noqa: F405
STATIC_ROOT.mkdir()  # noqa: F405
