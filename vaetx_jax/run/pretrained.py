"""The published parts of a run: where their weights are, and what the run's folder keeps of them.

`WORKDIR/encoder.json` holds the encoder's size and the sha256 of its weights, and
`WORKDIR/decoder.json` the size of a GPT-2, so that a run or an exported model can be opened where
the weights are not.
"""

import dataclasses
import json
import pathlib

import huggingface_hub
from ml_collections import ConfigDict

from vaetx_jax.config.validation import model_settings
from vaetx_jax.errors import UserError
from vaetx_jax.models import bert, gpt2
from vaetx_jax.models.bert import BertSize
from vaetx_jax.models.gpt2 import Gpt2Size
from vaetx_jax.models.presets import encoder_of
from vaetx_jax.run.workdir import DECODER, ENCODER
from vaetx_jax.runtime.atomic import write_text
from vaetx_jax.runtime.manifest import sha256_of


@dataclasses.dataclass(frozen=True)
class PretrainedEncoder:
    """A published encoder.

    Attributes:
      name: `config.model.encoder_weights`: a folder, or a name on the hub.
      sha256: of its `model.safetensors`.
      size: its size.
    """

    name: str
    sha256: str
    size: BertSize

    def folder(self) -> pathlib.Path | None:
        """The folder of its weights on this machine; None where there is none."""
        folder = pathlib.Path(self.name).expanduser()
        if not folder.is_dir():
            try:
                found = huggingface_hub.snapshot_download(
                    self.name, allow_patterns=list(bert.FILES), local_files_only=True
                )
            except (OSError, ValueError):
                return None
            folder = pathlib.Path(found)
        return folder if (folder / bert.WEIGHTS).is_file() else None

    def load(self, *, fetch: bool = False) -> bert.Tree:
        """Its parameters, as those of a `BertEncoder`.

        Args:
          fetch: they are downloaded where they are not on this machine.

        Raises:
          UserError: they are not there, or the file is not the one it was.
        """
        folder = self.folder()
        if folder is None and fetch:
            folder = bert.find_weights(self.name)
        if folder is None:
            raise UserError(
                f"config.model.encoder_weights = {self.name!r}: the encoder's weights are "
                "missing; bring them back"
            )
        params = bert.load_weights(folder, self.size)
        if sha256_of(folder / bert.WEIGHTS) != self.sha256:
            raise UserError(
                f"{folder / bert.WEIGHTS}: not the weights this run began with (sha256 "
                f"{self.sha256[:16]}..); restore the old file, or start a new run"
            )
        return params


def find_encoder(config: ConfigDict, folder: pathlib.Path | None) -> PretrainedEncoder | None:
    """The published encoder of a run that starts or goes on in a folder; None: it has none.

    Its weights are fetched where they are named and not given. A run that goes on needs none.
    Nothing is written to the folder.

    Args:
      folder: of the run; None: whatever it keeps does not count.

    Raises:
      UserError: there are no such weights, or they are not those that the run began with.
    """
    if not _has_encoder(config):
        return None
    name = model_settings(config).encoder_weights or ""
    if folder is not None and (folder / ENCODER).exists():
        encoder = read_encoder(config, folder)
        if encoder and encoder.folder():
            encoder.load()  # says if they are others
        return encoder
    place = bert.find_weights(name)
    size = bert.read_size(place)
    bert.load_weights(place, size)  # says what is wrong, before the folder keeps a wrong size
    return PretrainedEncoder(name, sha256_of(place / bert.WEIGHTS), size)


def keep_encoder(folder: pathlib.Path, encoder: PretrainedEncoder) -> None:
    """Writes what the folder of a run keeps of its encoder, unless it is there."""
    if not (folder / ENCODER).exists():
        facts = {"sha256": encoder.sha256, "size": dataclasses.asdict(encoder.size)}
        write_text(folder / ENCODER, json.dumps(facts, indent=2) + "\n")


def read_encoder(config: ConfigDict, folder: pathlib.Path) -> PretrainedEncoder | None:
    """The published encoder of a trained run, by what its folder keeps; None: it has none.

    Raises:
      UserError: the file is missing or not as it was written.
    """
    if not _has_encoder(config):
        return None
    path = folder / ENCODER
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        size = BertSize(**facts["size"])
        return PretrainedEncoder(config.model.encoder_weights, str(facts["sha256"]), size)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); it holds the size of the run's encoder, so copy "
            "the folder again from its source"
        ) from error


def _has_encoder(config: ConfigDict) -> bool:
    return encoder_of(config.model.name, config.model.encoder) == "bert"


def find_decoder(config: ConfigDict, folder: pathlib.Path | None) -> Gpt2Size | None:
    """The size of a decoder with GPT-2's published weights; None: the run has no such decoder.

    A run that goes on has it in its folder; else the weights are fetched where they are named.

    Args:
      folder: of the run; None: whatever it keeps does not count.

    Raises:
      UserError: there are no such weights, or the settings are of another size.
    """
    if config.model.name != "vae_gpt2" or not config.model.weights:
        return None
    if folder is not None and (folder / DECODER).exists():
        return read_decoder(config, folder)
    place = gpt2.find_weights(config.model.weights)
    size = gpt2.read_size(place)
    for key, published in (("decoder_layers", size.layers), ("decoder_heads", size.heads)):
        chosen = config.model[key]
        if chosen not in (None, published):
            raise UserError(
                f"config.model.{key} = {chosen}: the GPT-2 in {place} has {published:,}; leave the "
                "setting out, the size is that of the weights"
            )
    if config.data.max_len > size.positions:
        raise UserError(
            f"config.data.max_len = {config.data.max_len}: the GPT-2 in {place} has "
            f"{size.positions:,} positions, so that is the most"
        )
    return size


def keep_decoder(folder: pathlib.Path, size: Gpt2Size) -> None:
    """Writes what the folder of a run keeps of its published decoder, unless it is there."""
    if not (folder / DECODER).exists():
        write_text(folder / DECODER, json.dumps(dataclasses.asdict(size), indent=2) + "\n")


def read_decoder(config: ConfigDict, folder: pathlib.Path) -> Gpt2Size | None:
    """The size of a trained run's GPT-2, by what its folder keeps; None: as its settings have it.

    Raises:
      UserError: the file is not as it was written.
    """
    if config.model.name != "vae_gpt2" or not config.model.weights:
        return None
    path = folder / DECODER
    try:
        return Gpt2Size(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None  # of a version that set the sizes by hand
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); it holds the size of the run's GPT-2, so copy the "
            "folder again from its source"
        ) from error
