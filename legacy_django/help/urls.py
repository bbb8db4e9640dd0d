# SPDX-License-Identifier: Apache-2.0
"""The addresses of the help pages."""

from django.urls import path

from . import views

app_name = "help"
urlpatterns = [
    path("ajuda/", views.index, name="index"),
    path("ajuda/contato/", views.contact, name="contact"),
    path("ajuda/idioma/", views.choose_language, name="language"),
]
