# SPDX-License-Identifier: Apache-2.0
"""The address of the search, without a slash at its end as it always was."""

from django.urls import path

from . import views

app_name = "search"
urlpatterns = [path("busca", views.search, name="search")]
