# SPDX-License-Identifier: Apache-2.0
"""Polls."""

import re

from django.test import TestCase

from accounts.models import User

from .models import AlreadyVoted, Choice, Poll


class PollsTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.poll = Poll.objects.create(question="Praia ou serra?")
        cls.sea, cls.hills = (
            Choice.objects.create(poll=cls.poll, text=text) for text in ("Praia", "Serra")
        )
        cls.url = f"/votar/{cls.poll.pk}/"

    def votes(self) -> list[int]:
        return [result["votes"] for result in self.poll.results()]

    def test_vote_with_the_forms_own_token(self) -> None:
        client = self.client_class(enforce_csrf_checks=True)
        page = client.get(self.url).content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        self.assertEqual(client.post(self.url, {"choice": self.sea.pk}).status_code, 403)
        data = {"choice": self.sea.pk, "csrfmiddlewaretoken": token}
        voted = client.post(self.url, data, follow=True)
        self.assertContains(voted, "Voto registrado")
        self.assertContains(voted, "100%")
        self.assertEqual(self.votes(), [1, 0])

    def test_the_tokens_origin_is_the_host_that_the_reader_sees(self) -> None:
        client = self.client_class(enforce_csrf_checks=True)
        host = {"Host": "127.0.0.1:8000"}
        page = client.get(self.url, headers=host).content.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]
        data = {"choice": self.sea.pk, "csrfmiddlewaretoken": token}
        for origin, status in (("http://evil.example", 403), ("http://127.0.0.1:8000", 302)):
            headers = host | {"Origin": origin}
            self.assertEqual(client.post(self.url, data, headers=headers).status_code, status)

    def test_one_vote_a_session_even_after_logging_in(self) -> None:
        self.client.post(self.url, {"choice": self.sea.pk})
        self.client.force_login(User.objects.create_user("maria"))
        again = self.client.post(self.url, {"choice": self.hills.pk}, follow=True)
        self.assertContains(again, "Você já votou")
        self.client_class().post(self.url, {"choice": self.hills.pk})
        self.assertEqual(self.votes(), [1, 1])

    def test_two_votes_at_once_count_as_one(self) -> None:
        self.poll.vote(self.sea, "session")
        with self.assertRaises(AlreadyVoted):
            self.poll.vote(self.hills, "session")
        self.assertEqual(self.votes(), [1, 0])

    def test_what_is_no_vote(self) -> None:
        other = Choice.objects.create(poll=Poll.objects.create(question="?"), text="x")
        for data in ({}, {"choice": "x"}, {"choice": other.pk}):
            self.assertEqual(self.client.post(self.url, data).status_code, 422)
        Poll.objects.update(is_open=False)
        closed = self.client.post(self.url, {"choice": self.sea.pk}, follow=True)
        self.assertContains(closed, "Esta enquete está encerrada")
        self.assertEqual(self.votes(), [0, 0])
        self.assertEqual(self.client.get("/votar/999/").status_code, 404)

    def test_looking_makes_no_session(self) -> None:
        self.client.get(self.url)
        self.assertNotIn("sessionid", self.client.cookies)

    def test_list_and_results(self) -> None:
        self.assertContains(self.client.get("/enquetes/"), "Praia ou serra?")
        results = self.client.get(f"{self.url}resultado.json").json()["results"]
        self.assertEqual([result["text"] for result in results], ["Praia", "Serra"])
