# SPDX-License-Identifier: Apache-2.0
"""Who may do what in the API, and how it says no."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.crypto import constant_time_compare

View = Callable[..., HttpResponse]


def problem(status: int, detail: Any, **fields: str) -> JsonResponse:
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
