"""Every promise of a private generator, as dpbench's own kit tries it."""

from __future__ import annotations

from dpbench_mixture import DescentMixture, GaussianGenerator, MixtureGenerator

from dpbench.testing import GeneratorKit


class TestGaussian(GeneratorKit):
    plugin = GaussianGenerator


class TestMixture(GeneratorKit):
    plugin = MixtureGenerator


class TestDescent(GeneratorKit):
    plugin, params = DescentMixture, {"steps": 3}
