"""The paper's published numbers, as its tables print them.

Language models without a latent have no KL and no mutual information. The paper's PPL is `ppl_rec`
and its MI is `mi_b32`.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One model on one corpus: `ppl_rec`, KL in nats per sentence, `mi_b32` in nats."""

    ppl: float
    kl: float | None = None
    mi: float | None = None


class PublishedProbe(NamedTuple):
    """A linear probe of z on one split: binary cross entropy in nats, accuracy."""

    bce: float
    accuracy: float


# Tokens per sentence, [CLS] and [SEP] included; longer ones are cut.
MAX_LEN = {"ptb": 64, "wikitext2": 256, "sst2": 64, "air": 64}

# Where the cosine begins.
LEARNING_RATE = {"ptb": 1e-3, "wikitext2": 1e-3, "sst2": 1e-4, "air": 1e-4}

EPOCHS = 50

# A row of a table is a model under an annealing; language models have none.
Row = tuple[str, str | None]

# Table 2: latent 64.
LATENT_64: dict[Row, dict[str, Published]] = {
    ("vae_transformer", "cyclic"): {
        "ptb": Published(75.65, 4.4, 2.45),
        "wikitext2": Published(121.71, 4.27, 1.96),
        "sst2": Published(411.4, 0.21, 0.11),
        "air": Published(83.7, 0.7, 0.62),
    },
    ("vae_transformer", "linear"): {
        "ptb": Published(82.01, 2.5, 1.54),
        "wikitext2": Published(120.16, 5.29, 2.26),
        "sst2": Published(408.62, 0.18, 0.08),
        "air": Published(85.92, 0.01, 0.01),
    },
    ("vae_transformer", "none"): {
        "ptb": Published(91.52, 0.0, 0.0),
        "wikitext2": Published(128.25, 0.16, 0.09),
        "sst2": Published(413.77, 0.06, 0.02),
        "air": Published(88.65, 0.0, 0.0),
    },
    ("transformer_lm", None): {
        "ptb": Published(118.69),
        "wikitext2": Published(170.42),
        "sst2": Published(456.6),
        "air": Published(100.9),
    },
    ("vae_lstm", "cyclic"): {
        "ptb": Published(88.64, 0.9, 0.81),
        "wikitext2": Published(133.81, 0.55, 0.38),
        "sst2": Published(659.85, 0.0, 0.0),
        "air": Published(142.72, 0.01, 0.01),
    },
    ("vae_lstm", "linear"): {
        "ptb": Published(92.08, 0.01, 0.01),
        "wikitext2": Published(134.61, 0.01, 0.01),
        "sst2": Published(629.05, 0.0, 0.0),
        "air": Published(137.53, 0.0, 0.0),
    },
    ("vae_lstm", "none"): {
        "ptb": Published(92.04, 0.0, 0.0),
        "wikitext2": Published(132.23, 0.03, 0.02),
        "sst2": Published(656.12, 0.0, 0.0),
        "air": Published(147.0, 0.0, 0.0),
    },
    ("lstm_lm", None): {
        "ptb": Published(102.44),
        "wikitext2": Published(151.86),
        "sst2": Published(646.63),
        "air": Published(152.25),
    },
    ("vae_gpt2", "none"): {
        "ptb": Published(54.23, 0.01, 0.0),
        "wikitext2": Published(79.1, 0.02, 0.01),
        "sst2": Published(358.9, 1.57, 0.74),
        "air": Published(83.44, 0.86, 0.52),
    },
}

# Tables 4 and 5: latent 32 (Table 4 is Table 5 without the GRU).
LATENT_32: dict[Row, dict[str, Published]] = {
    ("vae_transformer", "cyclic"): {
        "ptb": Published(75.17, 4.78, 2.58),
        "wikitext2": Published(125.78, 3.67, 1.73),
        "sst2": Published(301.83, 1.02, 0.9),
        "air": Published(71.4, 2.64, 2.14),
    },
    ("vae_transformer", "linear"): {
        "ptb": Published(81.49, 2.7, 1.65),
        "wikitext2": Published(122.17, 5.48, 2.33),
        "sst2": Published(312.05, 0.01, 0.01),
        "air": Published(77.95, 0.33, 0.3),
    },
    ("vae_transformer", "none"): {
        "ptb": Published(92.23, 0.0, 0.0),
        "wikitext2": Published(128.46, 1.28, 0.68),
        "sst2": Published(321.14, 0.01, 0.0),
        "air": Published(80.23, 0.0, 0.0),
    },
    ("transformer_lm", None): {
        "ptb": Published(96.79),
        "wikitext2": Published(160.97),
        "sst2": Published(358.63),
        "air": Published(79.08),
    },
    ("vae_lstm", "cyclic"): {
        "ptb": Published(88.31, 0.91, 0.82),
        "wikitext2": Published(131.67, 1.38, 0.82),
        "sst2": Published(504.19, 0.0, 0.0),
        "air": Published(118.02, 0.03, 0.03),
    },
    ("vae_lstm", "linear"): {
        "ptb": Published(90.81, 0.01, 0.0),
        "wikitext2": Published(136.6, 0.0, 0.0),
        "sst2": Published(503.56, 0.0, 0.0),
        "air": Published(115.16, 0.0, 0.0),
    },
    ("vae_lstm", "none"): {
        "ptb": Published(92.79, 0.0, 0.0),
        "wikitext2": Published(134.02, 0.0, 0.0),
        "sst2": Published(547.01, 0.0, 0.0),
        "air": Published(121.89, 0.0, 0.0),
    },
    ("lstm_lm", None): {
        "ptb": Published(93.3),
        "wikitext2": Published(141.9),
        "sst2": Published(486.67),
        "air": Published(123.43),
    },
    ("vae_gru", "cyclic"): {
        "ptb": Published(69.88, 5.99, 2.94),
        "wikitext2": Published(110.96, 9.34, 2.88),
        "sst2": Published(381.45, 0.09, 0.08),
        "air": Published(99.0, 0.29, 0.24),
    },
    ("vae_gru", "linear"): {
        "ptb": Published(76.33, 3.57, 2.07),
        "wikitext2": Published(110.15, 9.08, 2.87),
        "sst2": Published(394.33, 0.0, 0.0),
        "air": Published(102.11, 0.03, 0.02),
    },
    ("vae_gru", "none"): {
        "ptb": Published(86.74, 0.7, 0.46),
        "wikitext2": Published(123.66, 0.68, 0.23),
        "sst2": Published(376.84, 0.0, 0.0),
        "air": Published(95.96, 0.0, 0.0),
    },
    ("gru_lm", None): {
        "ptb": Published(89.92),
        "wikitext2": Published(123.56),
        "sst2": Published(376.72),
        "air": Published(96.6),
    },
}

# Tables 3 and 6: the probe, latent 64 (Table 3 is Table 6 without the GRU).
PROBE_64: dict[Row, dict[str, dict[str, PublishedProbe]]] = {
    ("vae_transformer", "cyclic"): {
        "sst2": {
            "train": PublishedProbe(0.63, 0.689),
            "valid": PublishedProbe(0.641, 0.661),
            "test": PublishedProbe(0.618, 0.7),
        },
        "air": {
            "train": PublishedProbe(0.492, 0.793),
            "valid": PublishedProbe(0.459, 0.797),
            "test": PublishedProbe(0.483, 0.8),
        },
    },
    ("vae_lstm", "cyclic"): {
        "sst2": {
            "train": PublishedProbe(0.638, 0.682),
            "valid": PublishedProbe(0.649, 0.652),
            "test": PublishedProbe(0.631, 0.694),
        },
        "air": {
            "train": PublishedProbe(0.547, 0.794),
            "valid": PublishedProbe(0.543, 0.8),
            "test": PublishedProbe(0.542, 0.801),
        },
    },
    ("vae_gpt2", "none"): {
        "sst2": {
            "train": PublishedProbe(0.634, 0.67),
            "valid": PublishedProbe(0.65, 0.646),
            "test": PublishedProbe(0.633, 0.677),
        },
        "air": {
            "train": PublishedProbe(0.522, 0.787),
            "valid": PublishedProbe(0.517, 0.789),
            "test": PublishedProbe(0.525, 0.798),
        },
    },
    ("vae_gru", "cyclic"): {
        "sst2": {
            "train": PublishedProbe(0.63, 0.689),
            "valid": PublishedProbe(0.643, 0.661),
            "test": PublishedProbe(0.619, 0.7),
        },
        "air": {
            "train": PublishedProbe(0.535, 0.794),
            "valid": PublishedProbe(0.528, 0.8),
            "test": PublishedProbe(0.59, 0.801),
        },
    },
}

# Table 7: seconds of the forward passes over the training set, by corpus and model dimension.
FORWARD_SECONDS: dict[str, dict[str, dict[int, float]]] = {
    "vae_transformer": {
        "ptb": {128: 14.51, 1024: 85.84},
        "wikitext2": {128: 23.12, 1024: 142.48},
    },
    "vae_lstm": {
        "ptb": {128: 12.64, 1024: 137.36},
        "wikitext2": {128: 19.05, 1024: 227.65},
    },
    "vae_gru": {
        "ptb": {128: 11.29, 1024: 109.78},
        "wikitext2": {128: 16.44, 1024: 182.79},
    },
    "transformer_lm": {
        "ptb": {128: 11.39, 1024: 63.09},
        "wikitext2": {128: 19.84, 1024: 106.7},
    },
    "lstm_lm": {
        "ptb": {128: 9.89, 1024: 74.37},
        "wikitext2": {128: 15.14, 1024: 119.79},
    },
    "gru_lm": {
        "ptb": {128: 9.44, 1024: 60.44},
        "wikitext2": {128: 14.81, 1024: 104.28},
    },
}

# Table 8, and Table 1 for `vae_gpt2`: trainable parameters by model dimension.
PARAMETERS: dict[str, dict[int, int]] = {
    "vae_transformer": {128: 12_763_706, 1024: 118_395_834},
    "vae_lstm": {128: 12_756_922, 1024: 87_515_578},
    "vae_gru": {128: 12_526_010, 1024: 75_575_738},
    "transformer_lm": {128: 8_272_186, 1024: 71_461_690},
    "lstm_lm": {128: 8_108_346, 1024: 48_315_450},
    "gru_lm": {128: 8_042_298, 1024: 45_034_554},
    "vae_gpt2": {768: 207_349_971},
}
# Table 1 prints the sizes of two models under each other's names; Table 8 has them right.
SWAPPED_IN_TABLE_1 = {"vae_lstm": 12_526_010, "vae_gru": 12_756_922}
