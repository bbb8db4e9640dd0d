# SPDX-License-Identifier: Apache-2.0
"""feed.xml and sitemap.xml."""

from datetime import datetime

from django.contrib.sitemaps import Sitemap
from django.contrib.syndication.views import Feed
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.views.decorators.cache import cache_page
from django.views.decorators.http import last_modified

from .models import Article, Publication, Section


class Newest(Feed):
    """The forty newest articles as RSS."""

    title = "Gazeta do Vale"
    link = "/"
    feed_url = "/feed.xml"
    description = "As notícias do Vale do Itaperi."
    language = "pt-br"

    def items(self) -> QuerySet[Article]:
        return Article.public.cards()[:40]

    def item_title(self, item: Article) -> str:
        return item.title

    def item_description(self, item: Article) -> str:
        return item.subtitle

    def item_pubdate(self, item: Article) -> datetime:
        return item.published_at

    def item_updateddate(self, item: Article) -> datetime:
        return item.updated_at

    def item_author_name(self, item: Article) -> str:
        return item.author.name

    def item_categories(self, item: Article) -> tuple[str]:
        return (item.section.name,)


def changed(request: HttpRequest) -> datetime | None:
    """Return when anything was last published, changed or taken down."""
    return Publication.objects.order_by("-seq").values_list("at", flat=True).first()


# The condition is outside the cache: a reader who has the newest feed costs one small query.
feed = last_modified(changed)(cache_page(60)(Newest()))


class ArticleSitemap(Sitemap):
    changefreq = "daily"

    def items(self) -> QuerySet[Article]:
        return Article.public.only("slug", "updated_at")

    def lastmod(self, item: Article) -> datetime:
        return item.updated_at


class SectionSitemap(Sitemap):
    changefreq = "hourly"

    def items(self) -> QuerySet[Section]:
        return Section.objects.all()


class PageSitemap(Sitemap):
    def items(self) -> tuple[str, ...]:
        return ("articles:front", "articles:archive", "articles:most_read", "polls:list")

    def location(self, item: str) -> str:
        return reverse(item)


SITEMAPS = {"pages": PageSitemap, "sections": SectionSitemap, "articles": ArticleSitemap}
