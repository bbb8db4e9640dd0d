# SPDX-License-Identifier: Apache-2.0
"""The address of the health check."""

from django.urls import path

from . import views

app_name = "health"
urlpatterns = [path("healthcheck", views.healthcheck, name="healthcheck")]
