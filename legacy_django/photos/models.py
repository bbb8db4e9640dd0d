# SPDX-License-Identifier: Apache-2.0
"""Readers' photos."""

import secrets
from pathlib import PurePosixPath

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone


def place(photo: "Photo", filename: str) -> str:
    """Return where the file goes: by month, under a name that nobody can guess or repeat."""
    suffix = PurePosixPath(filename).suffix.lower()
    return f"fotos/{timezone.localdate():%Y/%m}/{secrets.token_hex(12)}{suffix}"


class Photo(models.Model):
    """One photo with its file under MEDIA_ROOT."""

    title = models.CharField("título", max_length=120)
    caption = models.TextField("legenda", max_length=500, blank=True)
    file = models.FileField("arquivo", upload_to=place)
    size = models.PositiveBigIntegerField("bytes", editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="photos")
    uploaded_at = models.DateTimeField("enviada em", default=timezone.now, db_index=True)

    class Meta:
        verbose_name = "foto"
        ordering = ("-uploaded_at", "-pk")

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("photos:photo", args=[self.pk])
