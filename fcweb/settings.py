"""All settings; behaviour differs by `FCWEB_*` variables, never by file. Each one stands in docs/settings.md."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONCE, NONE, SELF
from django.utils.translation import gettext_lazy as _

from fcweb.env import env_bool, env_int, env_list, env_path, env_secret, env_str
from fcweb.logs import PRE_CHAIN, PROCESSORS

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = env_path("FCWEB_DATA_DIR", BASE_DIR / "var")


def _secret_key() -> str:
    """Return the configured key, or the one kept in the data directory (made once, readable by us alone)."""
    configured = env_secret("FCWEB_SECRET_KEY")
    if configured:
        return configured
    key_file = DATA_DIR / "secret-key"
    if not key_file.exists():
        DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o750)
        key_file.touch(mode=0o600)
        key_file.write_text(secrets.token_urlsafe(50))
    return key_file.read_text().strip()


DEBUG = env_bool("FCWEB_DEBUG", default=False)
SECRET_KEY = _secret_key()
ALLOWED_HOSTS = env_list("FCWEB_ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env_list("FCWEB_CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    "connectors",
    "tracking",
    "chartkick.django",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "django_htmx",
    "csp",
    "fcweb.sign_ins.SignIns",
    "auditlog",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "fcweb.session.SignInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "fcweb.urls"
ASGI_APPLICATION = "fcweb.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "fcweb.context.shell",
            ],
        },
    },
]


def _databases() -> dict[str, Any]:
    """Return the database of FCWEB_DATABASE_URL, or SQLite in the data directory (durable: FULL)."""
    url = env_secret("FCWEB_DATABASE_URL")
    if url:
        config: dict[str, Any] = environ.Env.db_url_config(url)
        if config["ENGINE"] == "django.db.backends.postgresql":
            config["OPTIONS"] = {"pool": {"min_size": 1, "max_size": env_int("FCWEB_DB_POOL", 4, low=1, high=100)}}
            config["CONN_MAX_AGE"] = 0
        return {"default": config}
    return {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA_DIR / "fcweb.sqlite3",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": (
                    "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA foreign_keys=ON;"
                    "PRAGMA cache_size=-65536;PRAGMA temp_store=MEMORY;PRAGMA journal_size_limit=67108864;"
                ),
            },
        }
    }


DATABASES = _databases()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_VERBOSE = False

LANGUAGE_CODE = env_str("FCWEB_LANGUAGE", "en")
LANGUAGES = [("en", _("English")), ("fr", _("French"))]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env_str("FCWEB_TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "fcweb" / "static"]
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "fcweb.storage.HashedStaticFilesStorage"
        )
    },
}
WHITENOISE_USE_FINDERS = DEBUG

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
HTTPS = env_bool("FCWEB_HTTPS", default=False)  # behind a TLS proxy
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_HSTS_SECONDS = 31_536_000

AUDITLOG_INCLUDE_ALL_MODELS = False

# Transport: read through connectors.conf alone.
FCWEB_NODE = env_str("FCWEB_NODE")  # "" = the host name
FCWEB_BATCH = env_int("FCWEB_BATCH", 200, low=1, high=2000)
FCWEB_SYNC = env_str("FCWEB_SYNC", "auto")  # auto, syncfs or fsync
FCWEB_DROP_ROOTS = env_list("FCWEB_DROP_ROOTS", [])  # absolute drop directories stand below one of these
FCWEB_INOTIFY = env_bool("FCWEB_INOTIFY", default=True)
FCWEB_NOTICE_LANGUAGE = env_str("FCWEB_NOTICE_LANGUAGE", LANGUAGE_CODE)
FCWEB_TRACKING_DAYS = env_int("FCWEB_TRACKING_DAYS", 30, low=0, high=24_855)  # 0 = no age limit (MTC-6)
FCWEB_SUBJECT_LOGGING = env_bool("FCWEB_SUBJECT_LOGGING", default=True)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "structlog.stdlib.ProcessorFormatter",
            "processors": PROCESSORS,
            "foreign_pre_chain": PRE_CHAIN,
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": env_str("FCWEB_LOG_LEVEL", "WARNING")},
}
