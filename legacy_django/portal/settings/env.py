# SPDX-License-Identifier: Apache-2.0
"""Read typed settings from environment variables."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured


def flag(name: str, default: bool = False) -> bool:
    """Return True for 1/true/yes/on; an absent or empty variable means the default."""
    value = os.environ.get(name, "").strip().lower()
    return default if not value else value in {"1", "true", "yes", "on"}


def items(name: str, default: str = "") -> list[str]:
    """Split a comma list, dropping blanks."""
    return [item.strip() for item in os.environ.get(name, default).split(",") if item.strip()]


def required(name: str) -> str:
    """Return a variable that must be set; raise ImproperlyConfigured where it is not."""
    if not (value := os.environ.get(name)):
        raise ImproperlyConfigured(f"the environment variable {name} must be set")
    return value


def database(url: str, sqlite_file: Path) -> dict[str, Any]:
    """Turn DATABASE_URL into Django's database settings; an empty URL means the SQLite file."""
    if not url:
        return sqlite(sqlite_file)
    parts = urlsplit(url)
    if parts.scheme == "sqlite":  # sqlite:///absolute/file or sqlite:relative
        return sqlite(Path(unquote(parts.path)))
    if parts.scheme == "mysql":
        return mysql(parts)
    raise ImproperlyConfigured(f"DATABASE_URL: expected mysql:// or sqlite:, got {parts.scheme!r}")


def sqlite(file: Path) -> dict[str, Any]:
    """Describe a SQLite file in WAL mode, so that readers never wait for the writer."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": file,
        "OPTIONS": {
            "timeout": 15,
            # Take the write lock at BEGIN: a transaction that reads first and writes later would
            # otherwise fail at once, whatever the timeout, when another one wrote in between.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
        "CONN_MAX_AGE": 600,
    }


def mysql(parts: Any) -> dict[str, Any]:
    """Describe a MySQL or MariaDB server, spoken to through PyMySQL."""
    import pymysql

    pymysql.install_as_MySQLdb()
    return {
        "ENGINE": "django.db.backends.mysql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "127.0.0.1",
        "PORT": parts.port or 3306,
        "OPTIONS": {"charset": "utf8mb4", "connect_timeout": 5},
        "CONN_MAX_AGE": 600,
        "CONN_HEALTH_CHECKS": True,
        "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"},
    }
