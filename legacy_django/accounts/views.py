# SPDX-License-Identifier: Apache-2.0
"""Log in and out, register, see and edit one's profile; the session for pages without one."""

from django import forms
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe
from django.views.generic import CreateView, DetailView

from .models import User

ABOUT = ("first_name", "last_name", "email", "city", "about")


class Login(LoginView):
    template_name = "accounts/login.html"
    redirect_authenticated_user = True


class Logout(LogoutView):
    """Log out; by POST only, as Django has it."""


class RegistrationForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("username", "email", "city")


@method_decorator(sensitive_post_parameters(), name="dispatch")
class Register(CreateView):
    """Make an account and log its owner in."""

    form_class = RegistrationForm
    template_name = "accounts/register.html"
    success_url = reverse_lazy("accounts:profile")

    def form_valid(self, form: RegistrationForm) -> HttpResponse:
        response = super().form_valid(form)
        login(self.request, self.object)
        messages.success(self.request, f"Bem-vindo, {self.object.display_name}!")
        return response


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ABOUT


@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show and change what the reader tells about themselves."""
    form = ProfileForm(request.POST if request.method == "POST" else None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, "Perfil gravado.")
        return redirect("accounts:profile")
    recent = request.user.comments.select_related("article")[:10]
    return render(request, "accounts/profile.html", {"form": form, "recent": recent})


class ReaderPage(DetailView):
    """What others see of a reader."""

    queryset = User.objects.filter(is_active=True)
    slug_field = slug_url_kwarg = "username"
    context_object_name = "reader"
    template_name = "accounts/reader.html"


@require_safe
@never_cache
def session(request: HttpRequest) -> JsonResponse:
    """Tell scripts who is logged in."""
    user = request.user
    name = user.display_name if user.is_authenticated else None
    return JsonResponse({"authenticated": user.is_authenticated, "name": name})


@require_safe
@never_cache
def session_bar(request: HttpRequest) -> HttpResponse:
    """Give the session bar as a fragment, for the pages that are kept in caches."""
    return render(request, "portal/session.html")
