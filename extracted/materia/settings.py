# SPDX-License-Identifier: Apache-2.0
"""What the environment says. Each field names its variable, unit and default."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Settings:
    """How this instance runs."""

    host: str = "127.0.0.1"  # MATERIA_HOST
    port: int = 8101  # MATERIA_PORT; 0 takes a free one
    store: str = f"sqlite:{ROOT / 'var' / 'materia.sqlite3'}"  # MATERIA_STORE
    legacy: str = "http://127.0.0.1:8100"  # MATERIA_LEGACY, else LEGACY_PORT on loopback
    token: str = ""  # PUBLISH_TOKEN, shared with the monolith; empty refuses every event
    sync_every: float = 30.0  # MATERIA_SYNC_EVERY, seconds between re-syncs
    sync_late: float = 3600.0  # MATERIA_SYNC_LATE, seconds without one that fail health; 0 never
    drain: float = 10.0  # MATERIA_DRAIN, seconds that SIGTERM leaves to requests in flight

    @classmethod
    def read(cls, env: Mapping[str, str]) -> Self:
        """Return the settings in `env`; raise ValueError naming the variable that is wrong."""

        def number(name: str, default: float, low: float, high: float) -> float:
            text = env.get(name, "").strip()
            try:
                value = float(text) if text else default
            except ValueError:
                value = float("nan")
            if not low <= value <= high:
                raise ValueError(f"{name}: expected {low:g} to {high:g}, got {text!r}")
            return value

        default = cls()
        legacy_port = int(number("LEGACY_PORT", 8100, 1, 65535))
        return cls(
            host=env.get("MATERIA_HOST") or default.host,
            port=int(number("MATERIA_PORT", default.port, 0, 65535)),
            store=env.get("MATERIA_STORE") or default.store,
            legacy=(env.get("MATERIA_LEGACY") or f"http://127.0.0.1:{legacy_port}").rstrip("/"),
            token=env.get("PUBLISH_TOKEN", ""),
            sync_every=number("MATERIA_SYNC_EVERY", default.sync_every, 0.1, 86400),
            sync_late=number("MATERIA_SYNC_LATE", default.sync_late, 0, 31536000),
            drain=number("MATERIA_DRAIN", default.drain, 0, 3600),
        )
