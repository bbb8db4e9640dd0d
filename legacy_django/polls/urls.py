# SPDX-License-Identifier: Apache-2.0
"""The addresses of polls."""

from django.urls import path

from . import views

app_name = "polls"
urlpatterns = [
    path("enquetes/", views.PollList.as_view(), name="list"),
    path("votar/<int:pk>/", views.VotePage.as_view(), name="vote"),
    path("votar/<int:pk>/resultado.json", views.results, name="results"),
]
