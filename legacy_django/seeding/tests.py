# SPDX-License-Identifier: Apache-2.0
"""The invented content."""

import hashlib
from io import StringIO

from django.core.management import CommandError, call_command
from django.test import SimpleTestCase, TestCase

from accounts.models import User
from articles import publication
from articles.models import Article, Publication
from comments.models import Comment
from photos.models import Photo
from polls.models import Poll
from seeding import stories


class StoriesTest(SimpleTestCase):
    def test_a_story_is_the_same_in_every_run(self) -> None:
        self.assertEqual(stories.Story(7).body(), stories.Story(7).body())
        text = "".join(story.title + story.body() for story in stories.stories(20))
        digest = hashlib.sha256(text.encode()).hexdigest()
        self.assertEqual(digest[:16], "4e91a83bf2bdb535")

    def test_addresses_differ_and_fit(self) -> None:
        slugs = [story.slug for story in stories.stories(3000)]
        self.assertEqual(len(set(slugs)), 3000)
        self.assertLessEqual(max(map(len, slugs)), 150)

    def test_few_stories_have_most_of_the_readings(self) -> None:
        views = sorted((story.views for story in stories.stories(5000)), reverse=True)
        self.assertEqual(views[0], stories.READINGS)
        self.assertGreater(sum(views[:500]) / sum(views), 0.7)
        self.assertGreater(views[-1], 0)


class SemearTest(TestCase):
    def seed(self, articles: int) -> str:
        out = StringIO()
        call_command("semear", "--articles", str(articles), stdout=out)
        return out.getvalue()

    def test_content_and_a_second_run(self) -> None:
        self.assertIn("40 articles added", self.seed(40))
        self.assertEqual(User.objects.filter(username__startswith="leitor").count(), 200)
        self.assertEqual((Poll.objects.count(), Photo.objects.count()), (50, 6))
        self.assertTrue(Comment.objects.exists())
        self.assertEqual(list(Publication.objects.values_list("seq", flat=True)), [*range(1, 41)])
        page = self.client.get("/noticia/tiroteio-deixa-um-morto-e-feridos.ghtml")
        self.assertContains(page, "Leia também")
        self.assertGreater(len(page.content), 6 * 1024)
        self.assertTrue(self.client.login(username="leitor001", password="leitor-2026"))
        self.assertTrue(self.client.login(username="redacao", password="redacao-2026"))
        self.assertEqual(self.client.get("/admin/articles/article/").status_code, 200)

        before = publication.since(0)
        Article.objects.get(slug="tiroteio-deixa-um-morto-e-feridos").delete()
        self.assertIn("0 articles added", self.seed(40))
        self.assertFalse(Article.objects.filter(slug__startswith="tiroteio-deixa-um").exists())
        self.assertEqual(before["last"], 40)
        self.assertIn("10 articles added", self.seed(50))
        self.assertEqual((User.objects.count(), Poll.objects.count()), (202, 50))

    def test_too_few(self) -> None:
        with self.assertRaisesMessage(CommandError, "expected 12 or more"):
            self.seed(3)
