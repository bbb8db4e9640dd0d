# SPDX-License-Identifier: Apache-2.0
"""Fill the database with invented content.

The same content everywhere; a second run adds what is missing and changes nothing else. What an
editor has taken down or deleted does not come back: the publication log remembers it.
"""

import time
from itertools import islice
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import models, transaction
from django.utils.text import slugify

from accounts.models import User
from articles import publication
from articles.models import Article, Author, Publication, Section, Tag
from comments.models import Comment
from photos.models import Photo
from polls.models import Choice, Poll
from seeding import lexicon, pictures, stories

BATCH = 250  # rows of one INSERT
READERS, POLLS = 200, 50
FEWEST = 12  # articles; the newest ones link to each other
STAFF = (("admin", "admin-2026", "Administração"), ("redacao", "redacao-2026", "Redação"))
READER_PASSWORD = "leitor-2026"


class Command(BaseCommand):
    help = "Fills the database with invented articles, readers, polls, comments and photos."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--articles", type=int, default=5000, metavar="N")

    def handle(self, *args: Any, articles: int, **options: Any) -> None:
        if articles < FEWEST:
            raise CommandError(f"--articles: expected {FEWEST} or more, got {articles}")
        started = time.perf_counter()
        with transaction.atomic():
            add_staff()
            add_readers()
            add_polls()
            added = add_articles(articles)
            add_photos()
        if options["verbosity"]:
            took = time.perf_counter() - started
            self.stdout.write(
                f"semear: {added} articles added, {articles - added} there ({took:.1f} s)"
            )


def add_staff() -> None:
    """Make an administrator, and an editor who may do the newsroom's work."""
    newsroom, _ = Group.objects.get_or_create(name="Redação")
    apps = ("articles", "comments", "photos", "polls")
    newsroom.permissions.set(Permission.objects.filter(content_type__app_label__in=apps))
    for username, password, name in STAFF:
        user, new = User.objects.get_or_create(
            username=username,
            defaults={
                "first_name": name,
                "email": f"{username}@example.com",
                "is_staff": True,
                "is_superuser": username == "admin",
            },
        )
        if new:
            user.set_password(password)
            user.save()
            if not user.is_superuser:
                user.groups.add(newsroom)


def add_readers() -> None:
    known = set(User.objects.values_list("username", flat=True))
    missing = [one for one in stories.readers(READERS) if one["username"] not in known]
    if not missing:
        return
    # One hash for all: two hundred would take minutes, by design of the algorithm.
    password = make_password(READER_PASSWORD)
    users = [User(password=password, date_joined=stories.NEWEST, **one) for one in missing]
    User.objects.bulk_create(users)


def add_polls() -> None:
    known = set(Poll.objects.values_list("question", flat=True))
    for question, moment, is_open, choices in stories.polls(POLLS):
        if question not in known:
            poll = Poll.objects.create(question=question, created_at=moment, is_open=is_open)
            Choice.objects.bulk_create(
                Choice(poll=poll, text=text, votes=votes) for text, votes in choices
            )


def add_articles(count: int) -> int:
    """Add the stories that never were in the database; return how many."""
    all_stories = stories.stories(count)
    known = set(Article.objects.values_list("slug", flat=True))
    known.update(Publication.objects.values_list("slug", flat=True).distinct().order_by())
    missing = [story for story in all_stories if story.slug not in known]
    if not missing:
        return 0
    sections, authors, tags = add_headings()

    def article(story: stories.Story) -> Article:
        made = Article(
            slug=story.slug,
            title=story.title,
            subtitle=story.subtitle,
            section=sections[story.section],
            author=authors[story.author],
            body=story.body(),
            image=f"/static/articles/{story.section}.svg" if story.has_image else "",
            image_caption=story.caption if story.has_image else "",
            status=Article.Status.PUBLIC,
            published_at=story.published_at,
            updated_at=story.updated_at,
            views=story.views,
        )
        made.complete()
        return made

    missing.reverse()  # oldest first, as they would have been written
    bulk_create(Article, (article(story) for story in missing))
    ids = dict(Article.objects.values_list("slug", "pk"))
    bulk_create(
        Article.tags.through,
        (
            Article.tags.through(article_id=ids[story.slug], tag_id=tags[tag].pk)
            for story in missing
            for tag in story.tags
        ),
    )
    links = related(all_stories)
    bulk_create(
        Article.related.through,
        (
            Article.related.through(from_article_id=ids[story.slug], to_article_id=ids[other])
            for story in missing
            for other in links[story.slug]
            if other in ids
        ),
    )
    readers = list(User.objects.filter(username__startswith="leitor").order_by("username"))
    bulk_create(
        Comment,
        (
            Comment(
                article_id=ids[story.slug],
                user=readers[pick % len(readers)],
                text=text,
                created_at=moment,
            )
            for story in missing
            for pick, text, moment in stories.comments(story, most=30)
        ),
    )
    first = publication.reserve(len(missing))
    bulk_create(
        Publication,
        (
            Publication(
                seq=seq,
                kind=Publication.Kind.PUBLISHED,
                article_id=ids[story.slug],
                slug=story.slug,
                title=story.title,
                at=story.updated_at,
            )
            for seq, story in enumerate(missing, first)
        ),
    )
    return len(missing)


def add_headings() -> tuple[dict[str, Section], list[Author], dict[str, Tag]]:
    """Make sections, authors and tags; return them by slug, in order, and by name."""
    sections = {
        slug: Section.objects.get_or_create(slug=slug, defaults={"name": name, "order": order})[0]
        for order, (slug, name) in enumerate(lexicon.SECTIONS)
    }
    authors = [
        Author.objects.get_or_create(slug=slugify(name), defaults={"name": name, "role": role})[0]
        for name, role in stories.authors()
    ]
    names = [*lexicon.SHARED_TAGS, *(tag for of in lexicon.TAGS.values() for tag in of)]
    tags = {
        name: Tag.objects.get_or_create(slug=slugify(name), defaults={"name": name})[0]
        for name in names
    }
    return sections, authors, tags


def related(all_stories: list[stories.Story]) -> dict[str, list[str]]:
    """Link each story to the four next newer ones of its section; the very newest to each other."""
    links: dict[str, list[str]] = {}
    by_section: dict[str, list[str]] = {}
    newest = [story.slug for story in all_stories[:FEWEST]]
    for story in all_stories:
        newer = by_section.setdefault(story.section, [])
        others = [*newer[-4:], *(slug for slug in newest if slug not in newer[-4:])]
        links[story.slug] = [slug for slug in others if slug != story.slug][:4]
        newer.append(story.slug)
    return links


def add_photos() -> None:
    sender = User.objects.get(username="leitor001")
    for number, title in enumerate(pictures.TITLES):
        name = f"fotos/exemplo/{number + 1}.png"
        if not default_storage.exists(name):
            default_storage.save(name, ContentFile(pictures.landscape(number)))
        Photo.objects.get_or_create(
            file=name,
            defaults={
                "title": title,
                "caption": "Paisagem do Vale do Itaperi.",
                "size": default_storage.size(name),
                "user": sender,
                "uploaded_at": stories.NEWEST,
            },
        )


def bulk_create(model: type[models.Model], rows: Any) -> None:
    """Insert rows in batches, without holding all of them in memory."""
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        model.objects.bulk_create(batch)
