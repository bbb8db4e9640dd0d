# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m extracted.materia [serve | fill SOURCE | resync]`."""

import argparse
import asyncio
import logging
import os
import sys

from .fill import FillFailed, fill
from .service import make_sync, serve
from .settings import Settings
from .store import StoreFailed, open_store
from .sync import SyncFailed


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, 1 where it failed, 2 where it was asked wrongly."""
    parser = argparse.ArgumentParser(prog="python -m extracted.materia", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="run the service (the default)")
    filling = commands.add_parser("fill", help="fill the store from an export of the monolith")
    filling.add_argument("source", metavar="FILE|URL|-", help="one JSON document a line")
    filling.add_argument(
        "--after",
        type=int,
        default=0,
        metavar="SEQ",
        help="the export holds only what came after SEQ (default 0: it holds everything)",
    )
    filling.add_argument("--anew", action="store_true", help="forget what the store holds first")
    commands.add_parser("resync", help="read the monolith's log once, from the store's mark")
    options = parser.parse_args(arguments)
    logging.basicConfig(format="materia: %(levelname)s %(message)s", level=logging.INFO)
    logging.getLogger("tornado.access").setLevel(logging.ERROR)  # the edge logs every request
    try:
        asyncio.run(_run(options, Settings.read(os.environ)))
    except (FillFailed, StoreFailed, SyncFailed, OSError, ValueError) as error:
        print(f"materia: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(options: argparse.Namespace, settings: Settings) -> None:
    if options.command in (None, "serve"):
        await serve(settings)
        return
    store = await open_store(settings.store)
    try:
        if options.command == "fill":
            if options.anew:
                await store.clear()
            report = await fill(store, options.source, settings.token, after=options.after)
            print(report)
        else:
            sync = make_sync(store, settings)
            try:
                print(f"{await sync.resync()} events were news")
            finally:
                sync.close()
        print(f"the store holds {await store.count()} articles, newest event {await store.head()}")
    finally:
        await store.close()


if __name__ == "__main__":
    sys.exit(main())
