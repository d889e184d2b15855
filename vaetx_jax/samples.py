"""What a trained model says: samples from the prior, reconstructions, an interpolation."""

import pathlib

from vaetx_jax.api import TextModel
from vaetx_jax.writer import write_text

RECONSTRUCTIONS = 3
STEPS = 7


def showcase(model: TextModel) -> tuple[str, pathlib.Path]:
    """Writes `samples/step-N.md` and gives its text, too.

    Sentences to reconstruct and to go between are the first of the test split.
    """
    settings = model.parts.config.samples
    lines = [f"# Samples after {model.step:,} steps", "", "## Drawn from the prior", ""]
    drawn = model.sample(settings.count, temperature=settings.temperature, seed=settings.seed)
    lines += [f"- {sentence}" for sentence in drawn]
    if model.latent_dim:
        test = model.parts.corpus.split("test")
        shown = [test[i].text for i in range(min(RECONSTRUCTIONS, len(test)))]
        lines += ["", "## Reconstructed (greedy, from the posterior mean)", ""]
        for sentence, back in zip(shown, model.reconstruct(shown), strict=True):
            lines += [f"- {sentence}", f"  -> {back}"]
        first, last = shown[0], shown[-1]
        lines += ["", "## Between two sentences", "", f"- from: {first}"]
        lines += [f"  {i}. {s}" for i, s in enumerate(model.interpolate(first, last, STEPS))]
        lines += [f"- to: {last}"]
    text = "\n".join(lines) + "\n"
    folder = model.parts.folder / "samples"
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{model.step}.md"
    write_text(path, text)
    return text, path
