# SPDX-License-Identifier: Apache-2.0
"""Users in the admin."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from .models import User


@admin.register(User)
class ReaderAdmin(UserAdmin):
    list_display = ("username", "email", "first_name", "last_name", "city", "is_staff")
    fieldsets = (*UserAdmin.fieldsets, ("Leitor", {"fields": ("city", "about")}))
