# SPDX-License-Identifier: Apache-2.0
"""The addresses of accounts and sessions."""

from django.urls import path

from . import views

app_name = "accounts"
urlpatterns = [
    path("conta/entrar/", views.Login.as_view(), name="login"),
    path("conta/sair/", views.Logout.as_view(), name="logout"),
    path("conta/cadastro/", views.Register.as_view(), name="register"),
    path("conta/perfil/", views.profile, name="profile"),
    path("leitor/<str:username>/", views.ReaderPage.as_view(), name="reader"),
    path("sessao/", views.session, name="session"),
    path("sessao/barra/", views.session_bar, name="session_bar"),
]
