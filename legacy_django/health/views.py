# SPDX-License-Identifier: Apache-2.0
"""Check what the site cannot work without, one result each."""

import os
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from articles.models import Article


def database() -> str:
    """Ask the database for one article."""
    Article.public.values("pk").first()
    return f"{connection.vendor} ok"


def cache_works() -> str:
    """Write to the cache and read it back."""
    cache.set("healthcheck", "ok", 5)
    if cache.get("healthcheck") != "ok":
        raise OSError("what was written could not be read")
    return "ok"


def media_folder() -> str:
    """See that a photo could be written."""
    folder = settings.MEDIA_ROOT
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError("media folder is not writable")
    return "ok"


CHECKS: dict[str, Callable[[], str]] = {
    "database connection": database,
    "cache": cache_works,
    "media folder": media_folder,
}


# Per process, as every process asks for itself: the last verdict, and since when it has held.
_since: dict[str, tuple[bool, float]] = {}


def run(name: str, check: Callable[[], str]) -> dict[str, Any]:
    """Run one check; whatever it raises is its failure.

    duration is in seconds, time and since are seconds since 1970.
    """
    started = time.perf_counter()
    try:
        passed, output = True, check()
    except Exception as error:  # a health check reports every failure, of whatever kind
        passed, output = False, f"{type(error).__name__}: {error}"
    took, now = round(time.perf_counter() - started, 6), round(time.time(), 3)
    before = _since.get(name)
    if before is None or before[0] != passed:
        before = _since[name] = (passed, now)
    return {
        "checker": name,
        "output": output,
        "passed": passed,
        "time": now,
        "duration": took,
        "since": before[1],
    }


@require_safe
@never_cache
def healthcheck(request: HttpRequest) -> JsonResponse:
    """Answer 200 with status success, or 503 with status failure, and every check's result."""
    results = [run(name, check) for name, check in CHECKS.items()]
    passed = all(result["passed"] for result in results)
    return JsonResponse(
        {"status": "success" if passed else "failure", "results": results},
        status=200 if passed else 503,
    )
