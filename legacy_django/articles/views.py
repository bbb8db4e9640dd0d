# SPDX-License-Identifier: Apache-2.0
"""Pages of the articles app."""

from typing import Any
from zlib import crc32

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import PermissionRequiredMixin
from django.db.models import Count, F, Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import cache_control, cache_page
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import conditional_page, etag, require_POST, require_safe
from django.views.decorators.vary import vary_on_cookie
from django.views.generic import ListView, TemplateView, UpdateView
from django.views.generic.dates import (
    ArchiveIndexView,
    DayArchiveView,
    MonthArchiveView,
    YearArchiveView,
)

from .documents import document
from .models import Article, Author, Section, Tag

PAGE = 20


@require_safe
@cache_control(public=True, max_age=0, s_maxage=10)
@conditional_page
def article(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one article. The page is the same for everyone and carries a strong ETag."""
    found = get_object_or_404(Article.public.documents(), slug=slug)
    return render(request, "articles/article.html", {"article": document(found)})


@csrf_exempt  # sent by a page that has no token; all it can do is count
@require_POST
def seen(request: HttpRequest, slug: str) -> HttpResponse:
    """Count one reading, reported by the page's script."""
    counted = Article.public.filter(slug=slug).update(views=F("views") + 1)
    return HttpResponse(status=204 if counted else 404)


class FrontPage(TemplateView):
    """The newest articles, some of every section, and the most read."""

    template_name = "articles/front.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        newest = list(Article.public.cards()[:13])
        shown = [article.pk for article in newest]
        desks = [
            (section, Article.public.cards().filter(section=section).exclude(pk__in=shown)[:4])
            for section in Section.objects.all()
        ]
        popular = Article.public.cards().order_by("-views", "-pk")[:8]
        return super().get_context_data(
            lead=newest[:1], highlights=newest[1:5], newest=newest[5:], desks=desks, popular=popular
        )


class HeadingPage(ListView):
    """The articles under one heading, page by page."""

    template_name = "articles/heading.html"
    paginate_by = PAGE
    model: type[Section | Tag | Author]
    column: str
    kicker = ""

    def get_queryset(self) -> QuerySet[Article]:
        self.heading = get_object_or_404(self.model, slug=self.kwargs["slug"])
        return Article.public.cards().filter(**{self.column: self.heading})

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(heading=self.heading, kicker=self.kicker, **kwargs)


def section_etag(request: HttpRequest, slug: str) -> str | None:
    """Return a weak ETag of a section's first page, as long as no cookie can change the page."""
    if request.COOKIES or request.GET:
        return None
    inside = Article.objects.filter(section__slug=slug)  # withdrawn ones too: they changed the list
    state = inside.order_by().aggregate(
        n=Count("pk"), at=Max("updated_at"), name=Max("section__name")
    )
    return f'W/"{crc32(repr(state).encode()):08x}"' if state["n"] else None


class SectionPage(HeadingPage):
    model, column, kicker = Section, "section", "Editoria"

    @method_decorator(vary_on_cookie)
    @method_decorator(etag(section_etag))
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().get(request, *args, **kwargs)


class TagPage(HeadingPage):
    model, column, kicker = Tag, "tags", "Assunto"


class AuthorPage(HeadingPage):
    model, column, kicker = Author, "author", "Autor"


@cache_page(60)
@require_safe
def most_read(request: HttpRequest) -> HttpResponse:
    """Show the fifty most read articles; counted anew once a minute."""
    popular = Article.public.cards().order_by("-views", "-pk")[:50]
    return render(request, "articles/most_read.html", {"articles": popular})


class Archive:
    """What the archive's pages share: by local day, future days included (clocks differ)."""

    date_field = "published_on"
    allow_future = True
    allow_empty = False
    month_format = "%m"
    template_name = "articles/archive.html"
    context_object_name = "articles"

    def get_queryset(self) -> QuerySet[Article]:
        return Article.public.cards()


class ArchiveIndex(Archive, ArchiveIndexView):
    date_list_period = "year"
    paginate_by = PAGE


class ArchiveYear(Archive, YearArchiveView):
    pass


class ArchiveMonth(Archive, MonthArchiveView):
    paginate_by = PAGE


class ArchiveDay(Archive, DayArchiveView):
    paginate_by = PAGE


class ArticleForm(forms.ModelForm):
    class Meta:
        model = Article
        fields = ("title", "subtitle", "body", "image_caption", "comments_open", "status")
        widgets = {"body": forms.Textarea(attrs={"rows": 24})}


class EditArticle(PermissionRequiredMixin, UpdateView):
    """The newsroom's quick edit; the rest is done in the admin."""

    permission_required = "articles.change_article"
    model = Article
    form_class = ArticleForm
    template_name = "articles/edit.html"

    def form_valid(self, form: ArticleForm) -> HttpResponse:
        response = super().form_valid(form)
        messages.success(self.request, "Matéria gravada.")
        return response

    def get_success_url(self) -> str:
        if self.object.is_public:
            return self.object.get_absolute_url()
        return self.request.path
