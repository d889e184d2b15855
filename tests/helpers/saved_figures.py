"""Keeps the figures that a module saves to files."""

import types

import pytest


def keep_figures(monkeypatch: pytest.MonkeyPatch, module: types.ModuleType) -> list:
    """A list to which every figure is added that `module` saves from now on."""
    kept, save = [], module.save_figure

    def keep(figure, path):
        kept.append(figure)
        return save(figure, path)

    monkeypatch.setattr(module, "save_figure", keep)
    return kept
