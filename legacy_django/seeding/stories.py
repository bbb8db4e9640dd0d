# SPDX-License-Identifier: Apache-2.0
"""Write invented articles. The n-th story is the same on every machine and in every run."""

from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from django.utils.text import slugify

from . import lexicon

NEWEST = datetime(2026, 11, 20, 18, 0, tzinfo=ZoneInfo("America/Sao_Paulo"))
APART = timedelta(hours=4, minutes=20)  # between one story and the next older one
READINGS = 400_000  # of the most read
RANKS, STEP = 5003, 2377  # a prime and a step: popularity falls on old and new alike

FIRST_TITLE = "Tiroteio deixa um morto e feridos"
FIRST_SUBTITLE = (
    "Disparos atingiram quem esperava o ônibus no bairro Beira-Rio, em Itaperi; polícia procura "
    "dois suspeitos"
)


class Slots(dict[str, str]):
    """Fill a template's slots: those that the story has fixed, and others at random."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def __missing__(self, slot: str) -> str:
        if slot.startswith("fixed_"):
            self[slot] = self[slot.removeprefix("fixed_")]
            return self[slot]
        words = lexicon.WORDS[slot]
        return words[int(self.random.random() * len(words))]


def sentence(template: str, slots: Slots) -> str:
    """Fill a template and begin it with a capital."""
    text = template % slots
    return text[0].upper() + text[1:]


class Story:
    """One invented article. Its head is made at once, its long text when asked for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.random = random = Random(f"materia {number}")
        self.slots = slots = Slots(random)
        self.section = "policia" if number == 0 else random.choice(lexicon.SECTIONS)[0]
        slots["fixed_source"] = random.choice(lexicon.SPOKEN_FOR[self.section])
        slots["fixed_city"] = slots["city"] if number else "Itaperi"
        # In the title the story's own city is named, so that text and title agree.
        title = Slots(random)
        title["city"], title["fixed_source"] = slots["fixed_city"], slots["fixed_source"]
        template = random.choice(lexicon.TITLES[self.section]) + random.choice(lexicon.TAILS)
        self.title = sentence(template, title)
        self.subtitle = sentence(random.choice(SUBTITLES), slots)
        if number == 0:
            self.title, self.subtitle = FIRST_TITLE, FIRST_SUBTITLE
        self.slug = slugify(self.title)[:140]
        self.published_at = NEWEST - number * APART - timedelta(minutes=random.randrange(200))
        self.views = READINGS // (number * STEP % RANKS + 1)
        self.author = random.randrange(AUTHORS)
        own = random.sample(lexicon.TAGS[self.section], random.choice((1, 2, 2, 3)))
        self.tags = [*own, random.choice(lexicon.SHARED_TAGS)]
        self.has_image = number == 0 or random.random() < 0.7
        self.caption = f"{slots['fixed_city']}, no Vale do Itaperi"
        self.updated_at = self.published_at
        if random.random() < 0.3:
            self.updated_at += timedelta(minutes=random.randrange(20, 900))

    def body(self) -> str:
        """Write the text: paragraphs, subheads, sometimes a quotation and a list, as HTML."""
        random, slots = self.random, self.slots
        special = list(lexicon.OF_SECTION[self.section])
        general = list(lexicon.GENERAL)
        if self.number:  # the first tells its facts in order
            random.shuffle(special)
        random.shuffle(general)
        wanted = random.randrange(28, 47)
        sentences = special + general[: wanted - len(special)]
        # The story's own facts lead; below them all is mixed.
        rest = sentences[3:]
        random.shuffle(rest)
        texts = [sentence(template, slots) for template in (*sentences[:3], *rest)]

        parts = [f"<p>{texts[0]} {texts[1]}</p>", f"<p>{texts[2]}</p>"]
        position, subheads = 3, list(lexicon.SUBHEADS)
        random.shuffle(subheads)
        while position < len(texts):
            size = random.choice((2, 2, 3, 3, 4))
            parts.append(f"<p>{' '.join(texts[position : position + size])}</p>")
            position += size
            if len(parts) % 4 == 0 and position < len(texts) and subheads:
                parts.append(f"<h2>{subheads.pop()}</h2>")
        if random.random() < 0.6:
            quote = f"<blockquote>{random.choice(lexicon.QUOTES)}</blockquote>"
            parts.insert(random.randrange(2, 4), quote)
        if random.random() < 0.35:
            items = (sentence(item, slots) for item in random.sample(lexicon.LISTED, 3))
            parts += ["<ul>", *(f"<li>{item}</li>" for item in items), "</ul>"]
        return "\n".join(parts)


SUBTITLES = (
    "Medida vale a partir de %(month)s e atinge cerca de %(many)s famílias, diz %(fixed_source)s",
    "%(fixed_source)s confirma a informação e promete um balanço até o fim do mês",
    "Custo estimado é de %(money)s; moradores do bairro %(area)s pedem mais tempo",
    "Número é o maior em %(few)s anos na região, de acordo com %(source)s",
    "Assunto divide opiniões em %(fixed_city)s e deve voltar à discussão em %(month)s",
    "Caso mobiliza vizinhos no bairro %(area)s e chama a atenção em %(few)s cidades do vale",
)
AUTHORS = 24  # who sign the stories


def authors() -> list[tuple[str, str]]:
    """Return name and role of everyone who signs."""
    random = Random("autores")
    first, last = lexicon.WORDS["first"], lexicon.WORDS["last"]
    names = [
        f"{one} {two}"
        for one, two in zip(
            random.sample(first, AUTHORS), random.choices(last, k=AUTHORS), strict=True
        )
    ]
    roles = ("repórter", "repórter", "repórter", "editor", "colunista", "")
    return [(name, roles[n % len(roles)]) for n, name in enumerate(names)]


def readers(count: int) -> list[dict[str, str]]:
    """Return login name, names, address and city of the invented readers."""
    random = Random("leitores")
    made = []
    for number in range(1, count + 1):
        username = f"leitor{number:03}"
        made.append(
            {
                "username": username,
                "first_name": random.choice(lexicon.WORDS["first"]),
                "last_name": random.choice(lexicon.WORDS["last"]),
                "email": f"{username}@example.com",
                "city": random.choice(lexicon.WORDS["city"]),
            }
        )
    return made


def polls(count: int) -> list[tuple[str, datetime, bool, list[tuple[str, int]]]]:
    """Return question, moment, whether still open, and choices with votes, newest first."""
    random = Random("enquetes")
    made: dict[str, list[tuple[str, int]]] = {}
    while len(made) < count:
        template, choices = random.choice(lexicon.POLLS)
        question = sentence(template, Slots(random))
        made.setdefault(question, [(text, random.randrange(20, 2500)) for text in choices])
    return [
        (question, NEWEST - n * timedelta(days=9), n < 30, choices)
        for n, (question, choices) in enumerate(made.items())
    ]


def comments(story: Story, most: int) -> list[tuple[int, str, datetime]]:
    """Return a number that picks a reader, text and moment of each comment under a story."""
    random = Random(f"comentarios {story.slug}")
    count = min(most, story.views // 800)
    return [
        (
            random.randrange(10**6),
            random.choice(lexicon.COMMENTS),
            story.published_at + timedelta(minutes=random.randrange(5, 2000)),
        )
        for _ in range(count)
    ]


def stories(count: int) -> list[Story]:
    """Return the `count` newest stories, newest first, each with an address of its own."""
    taken: dict[str, int] = {}
    made = [Story(number) for number in range(count)]
    for story in made:
        times = taken[story.slug] = taken.get(story.slug, 0) + 1
        if times > 1:
            story.slug = f"{story.slug}-{times}"
    return made
