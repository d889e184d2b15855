"""Encoders, decoders and what they are put together to: a text VAE or a language model."""
