# SPDX-License-Identifier: Apache-2.0
"""The app's configuration."""

from django.apps import AppConfig


class PhotosConfig(AppConfig):
    name = "photos"
    verbose_name = "fotos"
