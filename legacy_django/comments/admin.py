# SPDX-License-Identifier: Apache-2.0
"""Moderation."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from .models import Comment


@admin.register(Comment)
class CommentAdmin(admin.ModelAdmin):
    list_display = ("text", "user", "article", "created_at", "is_visible")
    list_filter = ("is_visible",)
    list_select_related = ("user", "article")
    raw_id_fields = ("article", "user")
    actions = ("hide",)

    @admin.action(description="Ocultar", permissions=["change"])
    def hide(self, request: HttpRequest, queryset: QuerySet[Comment]) -> None:
        queryset.update(is_visible=False)
