# SPDX-License-Identifier: Apache-2.0
"""Help and contact, in the reader's language.

The rest of the site is in Portuguese only and must not vary by language, so there is no
LocaleMiddleware: these views choose the language themselves, and only while they run.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.cache import patch_vary_headers
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe
from django.views.i18n import set_language

View = Callable[..., HttpResponse]


def translated(view: View) -> View:
    """Run the view in the language of the reader's cookie or Accept-Language, and say so."""

    @wraps(view)
    def speaking(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        language = translation.get_language_from_request(request)
        with translation.override(language):
            response = view(request, *args, **kwargs)
        response.headers["Content-Language"] = language
        patch_vary_headers(response, ["Accept-Language", "Cookie"])
        return response

    return speaking


@require_safe
@translated
def index(request: HttpRequest) -> HttpResponse:
    """Answer what readers ask most."""
    return render(request, "help/index.html")


class ContactForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Nome"), max_length=80)
    email = forms.EmailField(label=gettext_lazy("E-mail"))
    message = forms.CharField(
        label=gettext_lazy("Mensagem"), max_length=2000, widget=forms.Textarea(attrs={"rows": 6})
    )


@translated
def contact(request: HttpRequest) -> HttpResponse:
    """Take a message to the newsroom. (This one reads the form and thanks; nobody is mailed.)"""
    form = ContactForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        messages.success(request, _("Mensagem recebida. Obrigado!"))
        return redirect("help:contact")
    return render(request, "help/contact.html", {"form": form})


choose_language = set_language
