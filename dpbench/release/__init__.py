"""Releases: synthetic images that a data owner may share, with all that a reader must know."""

from dpbench.release.sampler import Sampler, load_release

__all__ = ["Sampler", "load_release"]
