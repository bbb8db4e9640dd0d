# SPDX-License-Identifier: Apache-2.0
"""Comments."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from articles.models import Article


class Comment(models.Model):
    """What a reader wrote under an article."""

    article = models.ForeignKey(Article, models.CASCADE, related_name="comments")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="comments")
    text = models.TextField("comentário", max_length=1000)
    created_at = models.DateTimeField("enviado em", default=timezone.now)
    is_visible = models.BooleanField("visível", default=True)

    class Meta:
        verbose_name = "comentário"
        ordering = ("-created_at", "-pk")
        indexes = (models.Index(fields=["article", "-created_at", "-id"], name="comment_newest"),)

    def __str__(self) -> str:
        return self.text[:60]
