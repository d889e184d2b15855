"""Encoders, decoders and the models composed of them."""
