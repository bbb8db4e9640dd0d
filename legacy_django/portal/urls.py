# SPDX-License-Identifier: Apache-2.0
"""All addresses of the site."""

from django.conf import settings
from django.contrib import admin
from django.contrib.sitemaps.views import sitemap
from django.urls import include, path
from django.views.decorators.cache import cache_page
from django.views.generic import RedirectView, TemplateView
from django.views.static import serve

from articles.feeds import SITEMAPS, feed

robots = TemplateView.as_view(template_name="robots.txt", content_type="text/plain; charset=utf-8")

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("api.urls")),
    path("feed.xml", feed, name="feed"),
    path("sitemap.xml", cache_page(60)(sitemap), {"sitemaps": SITEMAPS}, name="sitemap"),
    path("robots.txt", robots, name="robots"),
    path("favicon.ico", RedirectView.as_view(url="/static/portal/icon.svg", permanent=True)),
    path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT}, name="media"),
    path("", include("accounts.urls")),
    path("", include("articles.urls")),
    path("", include("comments.urls")),
    path("", include("health.urls")),
    path("", include("help.urls")),
    path("", include("photos.urls")),
    path("", include("polls.urls")),
    path("", include("search.urls")),
]
