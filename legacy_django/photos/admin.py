# SPDX-License-Identifier: Apache-2.0
"""Photos in the admin."""

from django.contrib import admin

from .models import Photo


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    list_display = ("title", "user", "size", "uploaded_at")
    raw_id_fields = ("user",)
    readonly_fields = ("size",)
