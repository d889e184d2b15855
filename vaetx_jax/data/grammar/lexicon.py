"""The causes of the built-in grammar and its words: tables of weights that depend on the causes.

A table maps a word to its weight, a number or an array that broadcasts against the causes'
shape. Words are listed from common to rare: rank r (from 0) weighs 1 / (r + 2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from vaetx_jax.data.grammar.automaton import Weight

CAUSES: dict[str, tuple[str, ...]] = {
    "topic": ("cooking", "sport", "travel", "music", "weather", "money", "school", "health"),
    "sentiment": ("negative", "positive"),
    "tense": ("past", "present", "future"),
    "number": ("singular", "plural"),
    "person": ("first", "second", "third"),
}
PRIORS: dict[str, tuple[float, ...]] = {
    "topic": (0.125,) * 8,
    "sentiment": (0.5, 0.5),
    "tense": (0.45, 0.35, 0.2),
    "number": (0.55, 0.45),
    "person": (0.25, 0.15, 0.6),
}
Table = Mapping[str, Weight]


def given(cause: str, *values: str) -> np.ndarray:
    """1 where the cause has one of the values, else 0; broadcasts against the causes' shape."""
    ones = np.array([float(value in values) for value in CAUSES[cause]])
    return ones.reshape([-1 if name == cause else 1 for name in CAUSES])


# ---- making tables ---------------------------------------------------------------------------


def ranked(words: str, separator: str | None = None) -> Table:
    """A table of words, or of phrases where a separator is given, that sums to 1."""
    items = [item.strip() for item in words.split(separator)]
    total = sum(1.0 / (rank + 2) for rank in range(len(items)))
    return {item: 1.0 / (rank + 2) / total for rank, item in enumerate(items)}


def mixed(*parts: tuple[Weight, Table]) -> Table:
    """The weighted sum of tables."""
    table: dict[str, Weight] = {}
    for weight, part in parts:
        for word, share in part.items():
            table[word] = table.get(word, 0.0) + weight * share
    return table


def switched(cause: str, separator: str | None = None, **words: str) -> Table:
    """A table of its own for each value of a cause: `switched("tense", past=..., ...)`."""
    return mixed(*((given(cause, value), ranked(w, separator)) for value, w in words.items()))


def leaky(table: Table, leak: float) -> Table:
    """The table with a share `leak` spread evenly over all topics."""
    return {w: (1 - leak) * a + leak * np.mean(a, axis=0, keepdims=True) for w, a in table.items()}


def inflected(table: Table, *forms: tuple[Weight, Callable[[str], str]]) -> Table:
    """Every word replaced by its forms: `(weight under each cause, word -> form)`."""
    return mixed(
        *((weight, {form(word): share}) for weight, form in forms for word, share in table.items())
    )


# ---- inflection ------------------------------------------------------------------------------

IRREGULAR_PAST = {
    "write": "wrote", "sing": "sang", "buy": "bought", "sell": "sold", "pay": "paid",
    "teach": "taught", "take": "took",
    "think": "thought", "say": "said", "feel": "felt", "leave": "left", "sleep": "slept",
    "plan": "planned", "see": "saw",
}  # fmt: skip
IRREGULAR_PLURAL = {"child": "children"}


def plural(noun: str) -> str:
    """`friend` -> `friends`."""
    return IRREGULAR_PLURAL.get(noun, noun + ("es" if noun.endswith("ch") else "s"))


def past(verb: str) -> str:
    """`try` -> `tried`."""
    if verb in IRREGULAR_PAST:
        return IRREGULAR_PAST[verb]
    if verb.endswith("e"):
        return verb + "d"
    return verb[:-1] + "ied" if verb.endswith("y") and verb[-2] not in "aeou" else verb + "ed"


def third(verb: str) -> str:
    """`try` -> `tries`."""
    if verb.endswith("y") and verb[-2] not in "aeou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "sh", "ch", "x", "o")) else "s")


def same(word: str) -> str:
    """The word as it is."""
    return word


_PAST, _PRESENT, _FUTURE = (given("tense", value) for value in CAUSES["tense"])
_THIRD_SINGULAR = given("person", "third") * given("number", "singular")


def agreeing(verbs: Table) -> Table:
    """Verbs in the form that the causes ask of the main subject (future: the base form)."""
    return inflected(
        verbs,
        (_PAST, past),
        (_PRESENT * _THIRD_SINGULAR, third),
        (_PRESENT * (1 - _THIRD_SINGULAR) + _FUTURE, same),
    )


def of_others(verbs: Table, *, number: str) -> Table:
    """Verbs of another third person in a dependent clause; its future is the present form."""
    present = third if number == "singular" else same
    return inflected(verbs, (_PAST, past), (_PRESENT + _FUTURE, present))


# ---- people ----------------------------------------------------------------------------------

_TOPIC_PEOPLE = switched(
    "topic",
    cooking="chef cook baker",
    sport="player coach runner fan",
    travel="tourist pilot guide",
    music="singer player drummer fan",
    weather="farmer sailor gardener",
    money="banker trader client",
    school="teacher student pupil",
    health="doctor nurse patient",
)
_ANYONE = ranked("friend neighbor child girl boy")
PERSON = mixed((0.75, leaky(_TOPIC_PEOPLE, 0.15)), (0.25, _ANYONE))
PEOPLE = inflected(PERSON, (1.0, plural))
SUBJECT = inflected(
    PERSON, (given("number", "singular"), same), (given("number", "plural"), plural)
)
PRONOUN = mixed(
    (given("person", "first"), switched("number", singular="i", plural="we")),
    (given("person", "second"), ranked("you")),
    (given("person", "third"), switched("number", singular="she he", plural="they")),
)
OWNER = switched("number", singular="the my our this", plural="the my our some many two")
CHARACTER = switched("sentiment", positive="happy kind clever", negative="angry lazy rude")
PLAIN_CHARACTER = ranked("young old new")
COMPANY = ranked("with a friend, with my family, with our friends", ",")

# ---- actions, their objects and places -------------------------------------------------------
# Within a topic every verb of a pair goes with every object of that pair.

ACT = switched(
    "topic",
    cooking="cook serve taste",
    sport="play watch finish",
    travel="visit explore",
    music="play write record",
    weather="watch see",
    money="buy sell trade",
    school="study learn teach",
    health="take try",
)
ACTED_ON = switched(
    "topic",
    cooking="soup meal salad",
    sport="game match race",
    travel="island castle village",
    music="song tune album",
    weather="storm rainbow shower",
    money="house company stock",
    school="lesson poem language",
    health="medicine vitamin treatment",
)
HANDLE = switched(
    "topic",
    cooking="bake taste",
    sport="support watch",
    travel="plan book",
    music="attend plan",
    weather="check study",
    money="pay check",
    school="attend finish",
    health="treat help",
)
HANDLED = switched(
    "topic",
    cooking="cake pie pizza",
    sport="team club champion",
    travel="trip flight tour",
    music="concert festival show",
    weather="forecast map",
    money="bill tax loan",
    school="class course exam",
    health="patient baby",
)
JUDGED = leaky(
    switched(
        "topic",
        cooking="soup cake dinner meal",
        sport="game match team race",
        travel="trip flight hotel island",
        music="song concert album show",
        weather="weather storm season forecast",
        money="deal loan business market",
        school="class lesson exam course",
        health="treatment medicine exercise diet",
    ),
    0.05,
)
MOVE = switched(
    "topic",
    cooking="cook work",
    sport="play train",
    travel="arrive walk",
    music="play sing",
    weather="work walk",
    money="trade work",
    school="study teach",
    health="rest train",
)
PLACE = leaky(
    switched(
        "topic",
        separator=",",
        cooking="in the kitchen, at the restaurant, at the market",
        sport="at the stadium, in the park, on the field, in the gym",
        travel="at the airport, in the city, on the beach",
        music="at the theater, in the studio, at the club",
        weather="on the farm, in the valley, on the field, in the park",
        money="at the bank, in the office, at the market, in the city",
        school="in the classroom, at the library, on the campus",
        health="at the hospital, in the clinic, in the gym",
    ),
    0.12,
)

# ---- judgement -------------------------------------------------------------------------------
# A small share of most tables is neutral: a single word seldom proves the sentiment.

_GOOD_OR_BAD = switched(
    "sentiment",
    positive="good great wonderful perfect excellent",
    negative="bad terrible awful horrible nasty",
)
PRAISE = mixed((0.94, _GOOD_OR_BAD), (0.06, ranked("strange famous simple")))
_GOOD_THERE = switched(
    "topic",
    cooking="delicious fresh",
    sport="exciting fair",
    travel="beautiful cheap",
    music="lovely beautiful",
    weather="warm mild",
    money="fair safe",
    school="interesting easy",
    health="effective safe",
)
_BAD_THERE = switched(
    "topic",
    cooking="salty cold",
    sport="boring slow",
    travel="expensive boring",
    music="loud boring",
    weather="cold wet",
    money="risky expensive",
    school="difficult boring",
    health="painful expensive",
)
_GOOD_OR_BAD_THERE = mixed(
    (given("sentiment", "positive"), _GOOD_THERE), (given("sentiment", "negative"), _BAD_THERE)
)
TOPIC_PRAISE = mixed((0.5, _GOOD_OR_BAD_THERE), (0.5, PRAISE))
PLAIN = ranked("new old big famous simple strange")
DEGREE = ranked("really so")
LIKE = mixed(
    (0.96, switched("sentiment", positive="love enjoy like", negative="hate dislike ruin")),
    (0.04, ranked("remember")),
)
NOT_LIKE = switched("sentiment", negative="like enjoy love", positive="hate dislike ruin")
FEELING = switched("sentiment", positive="happy proud glad", negative="sad angry worried tired")
FEELING_DEGREE = ranked("very really")
FEELING_ABOUT = switched(
    "sentiment",
    separator=",",
    positive="happy about, proud of, glad about",
    negative="angry about, tired of, sad about, worried about",
)
LUCK = switched("sentiment", positive="luckily happily", negative="sadly unluckily")
MANNER = mixed(
    (0.94, switched("sentiment", positive="happily proudly", negative="sadly angrily nervously")),
    (0.06, ranked("quietly")),
)

# ---- the small words -------------------------------------------------------------------------

_SINGULAR = given("number", "singular")
_I = given("person", "first") * _SINGULAR
BE = mixed(
    (_PAST * (_I + _THIRD_SINGULAR), ranked("was")),
    (_PAST * (1 - _I - _THIRD_SINGULAR), ranked("were")),
    (_PRESENT * _I, ranked("am")),
    (_PRESENT * _THIRD_SINGULAR, ranked("is")),
    (_PRESENT * (1 - _I - _THIRD_SINGULAR), ranked("are")),
    (_FUTURE, ranked("be")),
)
DO = mixed(
    (_PAST, ranked("did")),
    (_PRESENT * _THIRD_SINGULAR, ranked("does")),
    (_PRESENT * (1 - _THIRD_SINGULAR), ranked("do")),
    (_FUTURE, ranked("will")),
)
# Of other subjects. In clauses that depend on the main one the present stands for the future.
IS = switched("tense", past="was", present="is", future="is")
ARE = switched("tense", past="were", present="are", future="are")
WANT = ranked("want hope decide")
THINK = ranked("think say feel")
WAIT = ranked("wait watch sleep")
LEAVE = ranked("leave arrive")
TIME = switched(
    "tense",
    separator=",",
    past="yesterday, last week, last year, today, on monday",
    present="every day, today, every week, on monday",
    future="tomorrow, next week, today, next year, on monday",
)
THE = ranked("the this")
WHY = ranked("why how")
