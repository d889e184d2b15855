"""The same models as a PyTorch user would write them, with our weights: the other side of a race.

Standard modules (`nn.Linear`, `nn.LSTM`, scaled dot product attention, cross entropy over
all logits), padding masked or packed, no trick that a reader of PyTorch's documentation would miss.
"""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from vaetx_jax.models.presets import ModelSettings

Tree = dict[str, Any]


def tensor(array: Any) -> nn.Parameter:
    """A parameter with an array's values."""
    return nn.Parameter(torch.tensor(np.asarray(array)))


def linear(weights: Tree) -> nn.Linear:
    """`nn.Linear` with a kernel [in, out] and a bias."""
    layer = nn.Linear(*weights["kernel"].shape)
    layer.weight = tensor(np.asarray(weights["kernel"]).T.copy())
    layer.bias = tensor(weights["bias"])
    return layer


def table(weights: Tree) -> nn.Embedding:
    """`nn.Embedding` with the rows of an embedding."""
    return nn.Embedding(*weights["embedding"].shape, _weight=tensor(weights["embedding"]))


class Attention(nn.Module):
    """Q, K and V without output projection; a latent's slots where they are given."""

    def __init__(self, weights: Tree, heads: int):
        super().__init__()
        self.query, self.key = linear(weights["query"]), linear(weights["key"])
        self.value, self.heads = linear(weights["value"]), heads
        if "slot_key" in weights:
            self.slot_key, self.slot_value = (
                tensor(weights[n]) for n in ("slot_key", "slot_value")
            )

    def forward(self, x, memory=None, z=None, mask=None, causal=False):
        source = x if memory is None else memory[:, None]
        keys, values = self.key(source), self.value(source)
        if memory is not None:
            keys = torch.cat([keys, (z @ self.slot_key)[:, None]], 1)
            values = torch.cat([values, (z @ self.slot_value)[:, None]], 1)
        q, k, v = (
            t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.query(x), keys, values)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return mixed.transpose(1, 2).flatten(-2)


class Layer(nn.Module):
    """A post-norm Transformer layer, with the latent-decoder attention in a decoder."""

    def __init__(self, weights: Tree, heads: int, dropout: float):
        super().__init__()
        self.attention = Attention(weights["attention"], heads)
        self.inner = linear(weights["feed_forward"]["inner"])
        self.outer = linear(weights["feed_forward"]["outer"])
        self.latent = None
        if "latent_attention" in weights:
            self.latent = Attention(weights["latent_attention"], heads)
        self.drop = nn.Dropout(dropout)

    def forward(self, x, *, mask=None, causal=False, projected=None, z=None):
        x = self.add(x, self.attention(x, mask=mask, causal=causal))
        x = self.add(x, self.outer(F.gelu(self.inner(x))))
        return x if self.latent is None else self.add(x, self.latent(x, projected, z))

    def add(self, x, output):
        return F.layer_norm(x + self.drop(output), x.shape[-1:])


class Transformer(nn.Module):
    """A Transformer encoder or decoder."""

    def __init__(self, weights: Tree, settings: ModelSettings):
        super().__init__()
        self.token = table(weights["embedding"]["token"])
        self.position = table(weights["embedding"]["position"])
        self.drop = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(
            Layer(weights[f"layer_{i}"], settings.heads, settings.dropout)
            for i in range(settings.layers)
        )
        self.project = linear(weights["project"]) if "project" in weights else None

    def embed(self, ids):
        return self.drop(self.token(ids) + self.position.weight[: ids.shape[1]])

    def encode(self, ids, seen):
        x, mask = self.embed(ids), seen[:, None, None]
        for layer in self.layers:
            x = layer(x, mask=mask)
        return x[:, 0]

    def decode(self, ids, z):
        x, projected = self.embed(ids), None if z is None else self.project(z)
        for layer in self.layers:
            x = layer(x, causal=True, projected=projected, z=z)
        return x


class Recurrent(nn.Module):
    """`nn.LSTM` or `nn.GRU`, two layers: bidirectional over packed sentences, or forward."""

    def __init__(self, weights: Tree, settings: ModelSettings, *, encoder: bool):
        super().__init__()
        self.token, self.drop = table(weights["embedding"]), nn.Dropout(settings.dropout)
        self.lstm = settings.name in ("vae_lstm", "lstm_lm")
        self.stack = (nn.LSTM if self.lstm else nn.GRU)(
            settings.embed_dim,
            settings.dim,
            settings.layers,
            batch_first=True,
            bidirectional=encoder,
            dropout=settings.dropout,
        )
        directions = {"forward": "", "backward": "_reverse"} if encoder else {"layer": ""}
        names = {"ih": "input", "hh": "recurrent"}
        for layer in range(settings.layers):
            for ours, suffix in directions.items():
                for theirs, name in names.items():
                    part = weights[f"{ours}_{layer}"]
                    kernel, bias = tensor(part[f"{name}_kernel"]), tensor(part[f"{name}_bias"])
                    setattr(self.stack, f"weight_{theirs}_l{layer}{suffix}", kernel)
                    setattr(self.stack, f"bias_{theirs}_l{layer}{suffix}", bias)
        self.project = linear(weights["project"]) if "project" in weights else None

    def encode(self, ids, seen):
        packed = pack_padded_sequence(
            self.drop(self.token(ids)), seen.sum(1).cpu(), batch_first=True, enforce_sorted=False
        )
        last = self.stack(packed)[1]
        return (last[0] if self.lstm else last).transpose(0, 1).flatten(1)

    def decode(self, ids, z):
        x = self.drop(self.token(ids))
        if z is None:
            return self.drop(self.stack(x)[0])
        start = self.project(z).unflatten(1, (self.stack.num_layers, -1)).transpose(0, 1)
        start = start.contiguous()
        state = (start, torch.zeros_like(start)) if self.lstm else start
        return self.drop(self.stack(x, state)[0])


class TextModel(nn.Module):
    """A text VAE or a language model of the `paper` preset, by name."""

    def __init__(self, params: Tree, settings: ModelSettings, pad_id: int):
        super().__init__()
        recurrent = settings.embed_dim is not None
        if recurrent:
            self.decoder = Recurrent(params["decoder"], settings, encoder=False)
        else:
            self.decoder = Transformer(params["decoder"], settings)
        self.encoder = None
        if settings.latent_dim:
            self.encoder = (
                Recurrent(params["encoder"], settings, encoder=True)
                if recurrent
                else Transformer(params["encoder"], settings)
            )
            self.mu, self.logvar = linear(params["mu"]), linear(params["logvar"])
        self.head = nn.Linear(settings.dim, len(params["output_layer"]["bias"]))
        self.head.weight = tensor(params["output_layer"]["kernel"])
        self.head.bias = tensor(params["output_layer"]["bias"])
        self.pad_id = pad_id

    def forward(self, ids, noise, kl_weight):
        """The negative ELBO a sentence, with the latent's noise [B, Z] given."""
        target, z, kl = ids[:, 1:], None, 0.0
        if self.encoder is not None:
            summary = self.encoder.encode(ids[:, :-1], target != self.pad_id)
            mu, logvar = self.mu(summary), self.logvar(summary)
            z = mu + torch.exp(0.5 * logvar) * noise
            kl = 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar).sum()
        logits = self.head(self.decoder.decode(ids[:, :-1], z))
        nll = F.cross_entropy(
            logits.flatten(0, 1), target.flatten(), ignore_index=self.pad_id, reduction="sum"
        )
        return (nll + kl_weight * kl) / len(ids)
