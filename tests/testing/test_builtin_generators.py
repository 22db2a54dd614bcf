"""The built-in generators keep every promise of their kind."""

from __future__ import annotations

from dpbench.generators.gan import GAN
from dpbench.generators.vae import VAE
from dpbench.testing import GeneratorKit


class TestVAE(GeneratorKit):
    plugin = VAE


class TestGAN(GeneratorKit):
    plugin = GAN
