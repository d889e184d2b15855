"""`python -m vaetx_jax.probe --workdir=DIR`: linear classifiers on the latent.

--data=FILE takes the sentences and labels of a file, split as in training, instead of the corpus; a
folder that `export` made of a model of your own text has no corpus and needs it. The scores are
written under the file's name.
"""

from vaetx_jax.runtime import signals

if __name__ == "__main__":
    signals.exit_immediately()

# isort: split
import dataclasses
import pathlib

from absl import flags

from vaetx_jax import command_line
from vaetx_jax.config.defaults import PROBE_FITS, PROBE_LATENTS
from vaetx_jax.inference.loading import load
from vaetx_jax.probe.probing import result_path, run_probe
from vaetx_jax.probe.tables import print_probe
from vaetx_jax.run.run import on_file


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_string("workdir", None, "The folder of a trained run, or one made by export.")
    flags.DEFINE_string("checkpoint", "best", "The checkpoint to use: best, last or a step.")
    flags.DEFINE_string("label", "", "The label field to probe; empty: all label fields.")
    flags.DEFINE_enum(
        "latent",
        None,
        PROBE_LATENTS,
        "The classifier's input, a sampled z or the posterior mean; by default the run's setting.",
    )
    flags.DEFINE_enum(
        "fit", None, PROBE_FITS, "How the classifier is fitted; by default the run's setting."
    )
    command_line.define_data()
    flags.DEFINE_bool("few_labels", True, "Also fit on 10, 100 and 1,000 labels per class.")


def main() -> None:
    """The command."""
    folder, values = pathlib.Path(command_line.require("workdir")), flags.FLAGS
    data = command_line.data_name()
    model = load(folder, checkpoint=values.checkpoint)
    if data:
        run = on_file(model.run, values.data, command_line.fields(), whole=False)
        model = dataclasses.replace(model, run=run)
    settings = model.run.config.probe
    settings.latent, settings.fit = values.latent or settings.latent, values.fit or settings.fit
    fields = [values.label] if values.label else []
    print_probe(run_probe(model, fields=fields, few_labels=values.few_labels, data=data))
    print(f"written: {result_path(model, data)}")


if __name__ == "__main__":
    command_line.run(main, define_flags)
