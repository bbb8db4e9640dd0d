# SPDX-License-Identifier: Apache-2.0
"""The addresses of the JSON API."""

from django.urls import path

from . import views

app_name = "api"
urlpatterns = [
    path("materias/", views.ArticleList.as_view(), name="articles"),
    path("materias/<slug:slug>/", views.ArticleDetail.as_view(), name="article"),
    path("publicacoes/", views.publications, name="publications"),
]
