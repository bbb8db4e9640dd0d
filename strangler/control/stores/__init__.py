# SPDX-License-Identifier: Apache-2.0
"""Where overrides are recorded: a file for one machine, Redis for a fleet.

A store keeps one document, the whole set with its number, and takes another only from somebody
who knows the one that is there: of two operators at once, one is told that he came late.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from strangler.cache.tiers import ExtraMissing
from strangler.control.stores.file import FileStore
from strangler.control.stores.store import Kept, Moved, Store, Unrecorded

__all__ = ["FILE", "FileStore", "Kept", "Moved", "Store", "Unrecorded", "make_store"]

FILE: Final = "overrides.json"
"""The name of the file in the state folder: the store itself, or the last known set of another."""


def make_store(url: str, *, folder: Path, site: str) -> Store:
    """Return the store at *url* for the site called *site*; nothing is opened yet.

    `file` is a file in the state *folder*, `file:PATH` another. Raises ValueError for what names
    no store, and where the driver for it isn't installed.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "file":
        return FileStore(Path(rest).absolute() if rest else folder / FILE)
    if scheme in ("redis", "rediss", "redis+sentinel", "redis+cluster") and rest.startswith("//"):
        # The driver is an extra: a site with a file has no need of it.
        try:
            from strangler.control.stores.redis import RedisStore
        except ExtraMissing as missing:
            raise ValueError(missing.reason) from None
        return RedisStore(url, site=site)
    raise ValueError("expected file, file:PATH or a redis URL")
