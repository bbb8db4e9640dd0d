# SPDX-License-Identifier: Apache-2.0
"""Search by words in title, subtitle and section; accents and case do not matter."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from articles.models import Article, fold
from articles.views import PAGE

WORDS = 8  # of the query; further ones are ignored


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Show what was found for `q`, newest first; any odd `page` is taken as the nearest one."""
    query = request.GET.get("q", "").replace("\0", "").strip()[:200]
    found = Article.public.cards() if query else Article.public.none()
    for word in fold(query).split()[:WORDS]:
        found = found.filter(search_text__contains=word)
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    return render(request, "search/search.html", {"query": query, "page_obj": page})
