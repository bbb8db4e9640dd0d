# SPDX-License-Identifier: Apache-2.0
"""The JSON API's views.

Reading is for everyone. Writing takes the bearer token of API_TOKEN, and so needs no CSRF token.
"""

import json
from typing import Any

from django import forms
from django.core.paginator import EmptyPage, Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import condition, require_safe
from django.views.generic import View

from articles import publication
from articles.documents import document, heading
from articles.models import Article, Publication, Section

from .auth import bearer_required, problem

PAGE, PAGE_MAX = 20, 100
writing = method_decorator(bearer_required("API_TOKEN"))


def card(article: Article) -> dict[str, Any]:
    """Return what a list tells of an article."""
    return {
        "id": article.pk,
        "slug": article.slug,
        "url": article.get_absolute_url(),
        "title": article.title,
        "subtitle": article.subtitle,
        "section": heading(article.section),
        "author": heading(article.author),
        "published_at": article.published_at.isoformat(),
        "updated_at": article.updated_at.isoformat(),
        "views": article.views,
    }


def whole(request: HttpRequest, name: str, default: int, top: int) -> int:
    """Return a query parameter as a number of 0..top; raise ValueError where it is none."""
    number = int(request.GET.get(name, default))
    if number < 0:
        raise ValueError(f"{name}: expected 0 or more, got {number}")
    return min(number, top)


class ArticleForm(forms.ModelForm):
    """What may be written; a section is given by its slug."""

    section = forms.ModelChoiceField(Section.objects.all(), to_field_name="slug")

    class Meta:
        model = Article
        fields = (
            *("slug", "title", "subtitle", "section", "author", "body", "image", "image_caption"),
            *("status", "comments_open"),
        )


@method_decorator(csrf_exempt, name="dispatch")
class JsonView(View):
    """A view whose request body, where there is one, is a JSON object."""

    def read(self, request: HttpRequest) -> dict[str, Any]:
        """Return the request's JSON object; raise ValueError where it is none."""
        data = json.loads(request.body)
        if not isinstance(data, dict):
            raise ValueError("expected a JSON object")
        return data

    def write(self, request: HttpRequest, article: Article | None, status: int) -> HttpResponse:
        """Store what the request says, on top of the article as it is."""
        try:
            data = self.read(request)
        except ValueError as error:
            return problem(400, str(error))
        form = ArticleForm(instance=article)
        before = {name: form.get_initial_for_field(f, name) for name, f in form.fields.items()}
        if article:
            before["section"] = article.section.slug
        form = ArticleForm(before | data, instance=article)
        if not form.is_valid():
            return problem(422, form.errors)
        stored = form.save()
        body = document(stored) if stored.is_public else {"id": stored.pk, "slug": stored.slug}
        return JsonResponse(
            body, status=status, headers={"Location": f"/api/materias/{stored.slug}/"}
        )


class ArticleList(JsonView):
    """`?page=&per_page=&secao=&tag=`: a page of articles, newest first."""

    def get(self, request: HttpRequest) -> HttpResponse:
        found = Article.public.cards()
        if section := request.GET.get("secao"):
            found = found.filter(section__slug=section)
        if tag := request.GET.get("tag"):
            found = found.filter(tags__slug=tag)
        try:
            size = whole(request, "per_page", PAGE, PAGE_MAX) or 1
            page = Paginator(found, size).page(max(whole(request, "page", 1, 10**9), 1))
        except ValueError as error:
            return problem(400, str(error))
        except EmptyPage:
            return problem(404, "no such page")
        return JsonResponse(
            {
                "count": page.paginator.count,
                "page": page.number,
                "pages": page.paginator.num_pages,
                "results": [card(article) for article in page],
            }
        )

    @writing
    def post(self, request: HttpRequest) -> HttpResponse:
        return self.write(request, None, 201)


def article_etag(request: HttpRequest, slug: str) -> str | None:
    """Return an ETag that changes with every publication of the article."""
    rows = Publication.objects.filter(slug=slug)
    last = rows.order_by("-seq").values_list("seq", flat=True).first()
    return f'"{last}"' if last else None


@method_decorator(condition(etag_func=article_etag), name="dispatch")
class ArticleDetail(JsonView):
    """One article's document. Send If-Match with a change to be told of another's before yours."""

    def get(self, request: HttpRequest, slug: str) -> HttpResponse:
        found = Article.public.documents().filter(slug=slug).first()
        return JsonResponse(document(found)) if found else problem(404, "no such article")

    @writing
    def patch(self, request: HttpRequest, slug: str) -> HttpResponse:
        return self.write(request, get_object_or_404(Article, slug=slug), 200)

    @writing
    @transaction.atomic
    def delete(self, request: HttpRequest, slug: str) -> HttpResponse:
        get_object_or_404(Article, slug=slug).delete()
        return HttpResponse(status=204)


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
