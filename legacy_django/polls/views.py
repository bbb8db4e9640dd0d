# SPDX-License-Identifier: Apache-2.0
"""Vote, and see how others did."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from django.views.generic import ListView, View

from .models import AlreadyVoted, Choice, Poll

VOTED = "voted_polls"  # session key; kept apart from Vote since a login changes the session's id


class PollList(ListView):
    model = Poll
    paginate_by = 20
    template_name = "polls/list.html"


class VoteForm(forms.Form):
    choice = forms.ModelChoiceField(
        Choice.objects.none(), widget=forms.RadioSelect, empty_label=None, label="Sua resposta"
    )

    def __init__(self, poll: Poll, *args: object) -> None:
        super().__init__(*args)
        self.fields["choice"].queryset = poll.choices.all()


@method_decorator(never_cache, name="dispatch")
class VotePage(View):
    """The form, or the results where the session has voted or the poll is closed."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        poll = get_object_or_404(Poll, pk=pk)
        return self.page(request, poll, VoteForm(poll))

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        poll = get_object_or_404(Poll, pk=pk)
        form = VoteForm(poll, request.POST)
        if not poll.is_open:
            messages.error(request, "Esta enquete está encerrada.")
        elif not form.is_valid():
            return self.page(request, poll, form, status=422)
        else:
            self.vote(request, poll, form.cleaned_data["choice"])
        return redirect(poll)

    def vote(self, request: HttpRequest, poll: Poll, choice: Choice) -> None:
        voted = request.session.get(VOTED, [])
        if request.session.session_key is None:
            request.session.create()
        try:
            if poll.pk in voted:
                raise AlreadyVoted
            poll.vote(choice, request.session.session_key)
        except AlreadyVoted:
            messages.warning(request, "Você já votou nesta enquete.")
        else:
            messages.success(request, "Voto registrado. Obrigado!")
            request.session[VOTED] = [*voted, poll.pk]

    def page(
        self, request: HttpRequest, poll: Poll, form: VoteForm, status: int = 200
    ) -> HttpResponse:
        may_vote = poll.is_open and poll.pk not in request.session.get(VOTED, [])
        context = {"poll": poll, "form": form, "may_vote": may_vote, "results": poll.results()}
        return render(request, "polls/vote.html", context, status=status)


@require_safe
@never_cache
def results(request: HttpRequest, pk: int) -> JsonResponse:
    """Give the results as JSON, for the newsroom's charts."""
    poll = get_object_or_404(Poll, pk=pk)
    return JsonResponse({"id": poll.pk, "question": poll.question, "results": poll.results()})
