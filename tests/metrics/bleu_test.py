"""BLEU and self-BLEU, against figures of sacrebleu 2.6.0 and closed cases."""

import pytest

from vaetx_jax.metrics.bleu import bleu, self_bleu


@pytest.mark.parametrize(
    ("sentences", "references", "expected"),
    [
        (
            ["the cat sat on the mat", "a dog barked"],
            ["the cat sat on a mat", "the dog barked loudly"],
            44.15034607719596,
        ),
        (["a b c d e f"], ["a b c d e f g h i"], 60.653065971263366),  # too short
        (["a b x y", "c d z w"], ["a b q r", "d c z s"], 20.085710473616295),  # smoothed
    ],
)
def test_bleu_is_that_of_sacrebleu(sentences, references, expected):
    assert bleu(sentences, references) == pytest.approx(expected)


def test_a_sentence_is_worth_100_against_itself():
    assert bleu(["a b c d", "e f g h i"], ["a b c d", "e f  g h i"]) == pytest.approx(100)


def test_sentences_without_a_common_word_are_worth_nothing():
    assert bleu(["a b c d"], ["e f g h"]) == 0
    assert bleu([], []) == 0
    assert bleu([""], ["a"]) == 0


def test_self_bleu_is_bleu_against_all_other_sentences():
    sentences = ["the cat sat on the mat", "the cat sat on a mat"]
    sentences += ["a dog sat on the mat today", "birds sing"]
    assert self_bleu(sentences) == pytest.approx(51.164731639915246)  # sacrebleu 2.6.0


def test_a_sentence_is_no_reference_of_its_own():
    assert self_bleu(["a b c d e", "f g h i j"]) == 0
    assert self_bleu(["a b c d e"]) == 0
    assert self_bleu(["a b c d e", "a b c d e"]) == pytest.approx(100)
