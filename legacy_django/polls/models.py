# SPDX-License-Identifier: Apache-2.0
"""Polls, their choices, and who voted."""

from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import F, Sum
from django.urls import reverse
from django.utils import timezone


class AlreadyVoted(Exception):
    """The session has voted in this poll before."""


class Poll(models.Model):
    """A question to the readers."""

    question = models.CharField("pergunta", max_length=200)
    created_at = models.DateTimeField("criada em", default=timezone.now, db_index=True)
    is_open = models.BooleanField("aberta", default=True)

    class Meta:
        verbose_name = "enquete"
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return self.question

    def get_absolute_url(self) -> str:
        return reverse("polls:vote", args=[self.pk])

    def vote(self, choice: "Choice", session_key: str) -> None:
        """Count one vote; raise AlreadyVoted where the session has one in this poll."""
        try:
            with transaction.atomic():
                # The count first: in MySQL the new row would share-lock its choice, and two
                # votes at once would each wait for the other's lock to go.
                Choice.objects.filter(pk=choice.pk).update(votes=F("votes") + 1)
                Vote.objects.create(poll=self, choice=choice, session_key=session_key)
        except IntegrityError as error:
            raise AlreadyVoted from error

    def results(self) -> list[dict[str, Any]]:
        """Return the choices with votes and whole percentages, in the order of the form."""
        total = self.choices.aggregate(total=Sum("votes"))["total"] or 0
        return [
            {
                "id": choice.pk,
                "text": choice.text,
                "votes": choice.votes,
                "percent": round(100 * choice.votes / total) if total else 0,
            }
            for choice in self.choices.all()
        ]


class Choice(models.Model):
    """One answer that a reader may pick."""

    poll = models.ForeignKey(Poll, models.CASCADE, related_name="choices")
    text = models.CharField("resposta", max_length=120)
    votes = models.PositiveIntegerField("votos", default=0, editable=False)

    class Meta:
        verbose_name = "resposta"
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.text


class Vote(models.Model):
    """One session's vote."""

    poll = models.ForeignKey(Poll, models.CASCADE, related_name="cast")
    choice = models.ForeignKey(Choice, models.CASCADE, related_name="cast")
    session_key = models.CharField(max_length=40)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["poll", "session_key"], name="one_vote_a_session"),
        )
