# SPDX-License-Identifier: Apache-2.0
"""The addresses of articles."""

from django.urls import path

from . import views

app_name = "articles"
urlpatterns = [
    path("", views.FrontPage.as_view(), name="front"),
    path("noticia/<slug:slug>.ghtml", views.article, name="article"),
    path("noticia/<slug:slug>/lida/", views.seen, name="seen"),
    path("noticia/<slug:slug>/editar/", views.EditArticle.as_view(), name="edit"),
    path("secao/<slug:slug>/", views.SectionPage.as_view(), name="section"),
    path("tag/<slug:slug>/", views.TagPage.as_view(), name="tag"),
    path("autor/<slug:slug>/", views.AuthorPage.as_view(), name="author"),
    path("mais-lidas/", views.most_read, name="most_read"),
    path("arquivo/", views.ArchiveIndex.as_view(), name="archive"),
    path("arquivo/<int:year>/", views.ArchiveYear.as_view(), name="archive_year"),
    path("arquivo/<int:year>/<int:month>/", views.ArchiveMonth.as_view(), name="archive_month"),
    path(
        "arquivo/<int:year>/<int:month>/<int:day>/", views.ArchiveDay.as_view(), name="archive_day"
    ),
]
