# SPDX-License-Identifier: Apache-2.0
"""The JSON API's views."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from articles import publication

View = Callable[..., HttpResponse]


def problem(status: int, detail: str, **fields: str) -> JsonResponse:
    """Answer with an error object and, where given, response fields."""
    return JsonResponse({"error": detail}, status=status, headers=fields)


def bearer_required(setting: str) -> Callable[[View], View]:
    """Let only those in who present the token that the setting holds; an empty one admits none."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            token = getattr(settings, setting)
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if not token or scheme.lower() != "bearer" or not constant_time_compare(given, token):
                return problem(401, "bearer token required", **{"WWW-Authenticate": "Bearer"})
            return view(request, *args, **kwargs)

        return guarded

    return decorate


def whole(request: HttpRequest, name: str, default: int, top: int) -> int:
    """Return a query parameter as a number of 0..top; raise ValueError where it is none."""
    number = int(request.GET.get(name, default))
    if number < 0:
        raise ValueError(f"{name}: expected 0 or more, got {number}")
    return min(number, top)


@require_safe
@never_cache
@bearer_required("PUBLISH_TOKEN")
def publications(request: HttpRequest) -> HttpResponse:
    """Give the publication events after `after`, oldest first, at most `limit` (1000).

    `last` is the seq to ask from next; `more` says that there is more at once.
    """
    try:
        after = whole(request, "after", 0, 2**63 - 1)
        limit = whole(request, "limit", publication.BATCH, 1000) or 1
    except ValueError as error:
        return problem(400, str(error))
    return JsonResponse(publication.since(after, limit))
