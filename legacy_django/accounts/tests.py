# SPDX-License-Identifier: Apache-2.0
"""Accounts and sessions."""

from django.test import TestCase

from .models import User


class AccountsTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_user("maria", password="segredo-2026", first_name="Maria")

    def test_log_in_and_out(self) -> None:
        form = {"username": "maria", "password": "segredo-2026", "next": "/enquetes/"}
        self.assertRedirects(self.client.post("/conta/entrar/", form), "/enquetes/")
        self.assertContains(self.client.get("/"), "Olá, Maria")
        self.assertEqual(self.client.get("/conta/sair/").status_code, 405)
        self.assertRedirects(self.client.post("/conta/sair/"), "/")
        self.assertNotContains(self.client.get("/"), "Olá")

    def test_log_in_does_not_lead_to_other_hosts(self) -> None:
        form = {"username": "maria", "password": "segredo-2026", "next": "https://example.org/"}
        self.assertRedirects(self.client.post("/conta/entrar/", form), "/conta/perfil/")

    def test_wrong_password(self) -> None:
        response = self.client.post("/conta/entrar/", {"username": "maria", "password": "x"})
        self.assertEqual((response.status_code, len(response.context["form"].errors)), (200, 1))

    def test_register(self) -> None:
        form = {"username": "joao", "password1": "segredo-2026", "password2": "segredo-2026"}
        page = self.client.post("/conta/cadastro/", form, follow=True)
        self.assertContains(page, "Bem-vindo, joao!")

    def test_profile(self) -> None:
        self.assertRedirects(
            self.client.get("/conta/perfil/"), "/conta/entrar/?next=/conta/perfil/"
        )
        self.client.force_login(self.user)
        self.client.post("/conta/perfil/", {"first_name": "Maria", "city": "Itaperi"})
        self.assertContains(self.client.get("/leitor/maria/"), "Itaperi")

    def test_session_for_scripts(self) -> None:
        anonymous = self.client.get("/sessao/")
        self.assertEqual(anonymous.json(), {"authenticated": False, "name": None})
        self.client.force_login(self.user)
        self.assertEqual(self.client.get("/sessao/").json()["name"], "Maria")

    def test_session_bar_is_private_and_has_a_token_for_logging_out(self) -> None:
        self.assertContains(self.client.get("/sessao/barra/"), "Cadastre-se")
        self.client.force_login(self.user)
        bar = self.client.get("/sessao/barra/")
        self.assertContains(bar, "csrfmiddlewaretoken")
        self.assertIn("private", bar["Cache-Control"])
        self.assertNotContains(bar, "<html")
