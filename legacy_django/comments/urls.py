# SPDX-License-Identifier: Apache-2.0
"""The addresses of comments."""

from django.urls import path

from . import views

app_name = "comments"
urlpatterns = [path("comentarios/<int:pk>/", views.CommentsView.as_view(), name="list")]
