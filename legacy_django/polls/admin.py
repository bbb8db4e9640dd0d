# SPDX-License-Identifier: Apache-2.0
"""Polls in the admin, with their choices."""

from django.contrib import admin

from .models import Choice, Poll


class ChoiceInline(admin.TabularInline):
    model = Choice
    extra = 2
    readonly_fields = ("votes",)


@admin.register(Poll)
class PollAdmin(admin.ModelAdmin):
    list_display = ("question", "is_open", "created_at")
    list_filter = ("is_open",)
    inlines = (ChoiceInline,)
